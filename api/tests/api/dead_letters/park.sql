INSERT INTO messaging.dead_letter
    (consumer, topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties, state, reason, cause, attempts)
VALUES
    ($1, $2, 'broker-a', 3, 17, $3, $4, $4::text, convert_to($5, 'UTF8'), '{}', $6, $7, $8, 1)
RETURNING id
