with event as (
    insert into baseline.event (stream, version, type, payload) values ($1, $2, 'OrderPlaced', $3::jsonb)
    returning stream, payload
)
insert into baseline.outbox (message_id, topic, key, payload)
select $4, 'order-create', stream, payload from event
