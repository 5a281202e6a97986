-- Those that count_traces.sql missed, by name.
select o.message_id, o.lane, o.position, o.n, p.lane is not null as was_parked
from store.outbox o
left join relay.parked p on p.lane = o.lane and p.position = o.position and p.n = o.n
where o.lane = any($1) and o.position > $2 and o.position <= $3 and p.state is distinct from 'skipped'
    and not exists (select from store.command_key c where c.scope = $4 and c.key = o.message_id::text)
    and not exists (select from messaging.inbox i where i.consumer = $5 and i.message_id = o.message_id)
    and not exists (select from messaging.dead_letter d where d.consumer = $5 and d.identity = o.message_id::text)
    and not exists (
        select from messaging.dead_letter d
        where d.consumer = $5 and (d.message_id is null or d.identity <> d.message_id::text) and d.topic = o.topic
            and d.properties ->> 'position' = o.position::text
    )
order by o.position, o.n, o.lane
limit $6
