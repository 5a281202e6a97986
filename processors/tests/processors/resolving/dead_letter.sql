INSERT INTO messaging.dead_letter
    (consumer, topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties, state, reason, attempts)
SELECT 'stock', topic, 'broker-a', 0, 0, $1, message_id, message_id::text, convert_to(body, 'UTF8'), '{}', 'dead', $3, 5
FROM store.outbox
WHERE message_id = $2
RETURNING id
