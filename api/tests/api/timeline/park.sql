INSERT INTO relay.parked (lane, position, n, topic, ordering_key, message_id, reason)
SELECT lane, position, n, topic, ordering_key, message_id, 'larger than the broker takes'
FROM store.outbox
WHERE topic = $1
