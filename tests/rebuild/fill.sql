-- Orders that were placed all at once and cancelled later, so that their events lie far apart.
with event as (
    insert into store.events
        (position, stream_id, version, event_id, type, schema_version, payload, metadata, recorded_at, hash)
    select n, 'order-' || order_id, version, gen_random_uuid(), type, schema_version, payload::json, '{}',
           clock_timestamp(), sha256(n::text::bytea)
    from (
        select n, 'ORD20241201' || lpad(n::text, 8, '0') as order_id, 1 as version, 'OrderPlaced' as type,
               2 as schema_version,
               '{"orderId":"ORD20241201' || lpad(n::text, 8, '0') || '","userId":' || 1 + n % 500
               || ',"showId":1001,"ticketTypeId":2001,"quantity":2,"totalAmount":299.00,'
               || '"orderTime":"2024-12-01T12:00:00Z","expireTime":"2024-12-01T12:15:00Z","mode":"async"}' as payload
        from generate_series(1, $1 / 2) n
        union all
        select $1 / 2 + n, 'ORD20241201' || lpad(n::text, 8, '0'), 2, 'OrderCancelled', 1,
               '{"reason":"changed my mind"}'
        from generate_series(1, $1 / 2) n
    ) events
)
insert into store.ledger_batch (last_position, first_position, batch_id, hash, refused, recorded_at)
values ($1, 1, gen_random_uuid(), sha256('test'), '{}', clock_timestamp())
