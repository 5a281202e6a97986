insert into relay.parked (lane, position, n, topic, ordering_key, message_id, reason, state)
select * from unnest($1::smallint[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[])
on conflict (lane, position, n) do nothing
