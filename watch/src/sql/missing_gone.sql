select count(*)
from operations.missing_message m
left join store.outbox o using (lane, position, n)
where m.consumer = $1 and m.confirmed_at is not null and o.message_id is null
