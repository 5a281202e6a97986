-- As many events as messages, one each, spread over the eight lanes of the first topic as keys would be.
with event as (
    insert into store.events
        (position, stream_id, version, event_id, type, schema_version, payload, metadata, recorded_at, hash)
    select n, 'order-ORD20260101' || lpad(n::text, 12, '0'), 1, gen_random_uuid(), 'OrderPlaced', 2,
        '{"orderId":"ORD20260101"}', '{"correlationId":"bench","mode":"async"}', clock_timestamp(), sha256(n::text::bytea)
    from generate_series(1, $1) n
), batch as (
    insert into store.ledger_batch (last_position, first_position, batch_id, hash, refused, recorded_at)
    values ($1, 1, gen_random_uuid(), sha256('bench'), '{}', clock_timestamp())
)
insert into store.outbox (lane, position, n, topic, ordering_key, business_id, event_type, message_id, body)
select n % 8, n, 0, 'order-create', 'ORD' || n, 'ORD' || n, 'ORDER_CREATE', gen_random_uuid(),
    '{"messageId":"0190f2a4-7a1c-7c3e-9d0a-3d5b2c1a9e77","timestamp":1640995200000,"eventType":"ORDER_CREATE","data":{"orderId":"ORD20260101000000000001","userId":12345,"showId":1001,"ticketTypeId":2001,"quantity":2,"totalAmount":299.00,"orderTime":1640995200000,"expireTime":1640996100000},"source":"order-service","version":"1.0"}'
from generate_series(1, $1) n
