with head as (
    select last_position as base, hash as previous from store.ledger_batch order by last_position desc limit 1
), messages as (
    select head.base + m.ordinal as position, m.*
    from head, unnest($1::smallint[], $2::text[], $3::text[], $4::uuid[], $5::text[])
        with ordinality as m(lane, topic, key, id, body, ordinal)
), events as (
    insert into store.events
        (position, stream_id, version, event_id, type, schema_version, payload, metadata, recorded_at, hash)
    select position, 'test-' || position, 1, gen_random_uuid(), 'Tested', 1, '{}',
        json_build_object('correlationId', 'request-' || position, 'mode', 'async'),
        clock_timestamp() - make_interval(hours => $6),
        sha256(id::text::bytea)
    from messages
), outbox as (
    insert into store.outbox (lane, position, n, topic, ordering_key, business_id, event_type, message_id, body)
    select lane, position, 0, topic, key, key, 'TESTED', id, body from messages
)
insert into store.ledger_batch (last_position, first_position, batch_id, hash, refused, recorded_at)
select max(m.position), min(m.position), gen_random_uuid(), sha256(h.previous), '{}', clock_timestamp()
from messages m cross join head h
group by h.previous
returning last_position
