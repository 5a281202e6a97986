-- What the outbox still has and is no letter yet: what is one is missing no longer, only the watch has yet to look.
select m.lane, m.position, m.n
from operations.missing_message m
join store.outbox o using (lane, position, n)
where m.consumer = $1 and m.confirmed_at is not null
    and not exists (select from messaging.dead_letter d where d.consumer = $1 and d.identity = m.message_id::text)
order by m.position, m.n
limit $2
