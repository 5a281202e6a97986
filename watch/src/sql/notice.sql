insert into operations.missing_message (consumer, topic, message_id, lane, position, n)
select $1, $2, message_id, lane, position, n
from unnest($3::uuid[], $4::smallint[], $5::bigint[], $6::smallint[]) as noticed (message_id, lane, position, n)
on conflict do nothing
