-- A trace is a claim (a processor's or a projection's) or a dead letter, whatever became of that. Of a poison message the id
-- may be unknown, its event's position is not. What a person gave up counts as never sent.
select count(*), count(*) filter (where is_traced)
from (
    select exists (select from store.command_key c where c.scope = $4 and c.key = o.message_id::text)
        or exists (select from messaging.inbox i where i.consumer = $5 and i.message_id = o.message_id)
        or exists (select from messaging.dead_letter d where d.consumer = $5 and d.identity = o.message_id::text)
        or exists (
            select from messaging.dead_letter d
            where d.consumer = $5 and (d.message_id is null or d.identity <> d.message_id::text) and d.topic = o.topic
                and d.properties ->> 'position' = o.position::text
        ) as is_traced
    from store.outbox o
    left join relay.parked p on p.lane = o.lane and p.position = o.position and p.n = o.n
    where o.lane = any($1) and o.position > $2 and o.position <= $3 and p.state is distinct from 'skipped'
) sent
