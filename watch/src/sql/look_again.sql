-- What was noticed and has a trace now is forgotten; what has none for long enough, and is still passed, is believed to be
-- missing. One that was parked is judged once it was sent and nothing at all waits on the broker.
with looked as (
    select m.message_id, m.noticed_at, p.state, p.resolved_at,
        exists (select from store.command_key c where c.scope = $3 and c.key = m.message_id::text)
        or exists (select from messaging.inbox i where i.consumer = $1 and i.message_id = m.message_id)
        or exists (select from messaging.dead_letter d where d.consumer = $1 and d.identity = m.message_id::text)
        or exists (
            select from messaging.dead_letter d
            where d.consumer = $1 and (d.message_id is null or d.identity <> d.message_id::text) and d.topic = $2
                and d.properties ->> 'position' = m.position::text
        ) as is_traced
    from operations.missing_message m
    left join relay.parked p on p.lane = m.lane and p.position = m.position and p.n = m.n
    where m.consumer = $1 and m.topic = $2
), forgotten as (
    delete from operations.missing_message m using looked l
    where m.consumer = $1 and m.message_id = l.message_id and (l.is_traced or l.state = 'skipped')
)
update operations.missing_message m
set confirmed_at = clock_timestamp()
from looked l
where m.consumer = $1 and m.message_id = l.message_id and m.confirmed_at is null and not l.is_traced
    and m.position <= $6
    and l.noticed_at <= clock_timestamp() - make_interval(secs => $4)
    and (
        l.state is null
        or l.state = 'sent' and $5 and l.resolved_at <= clock_timestamp() - make_interval(secs => greatest($4, 10))
    )
returning m.consumer, m.topic, m.message_id, m.position
