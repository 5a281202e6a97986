INSERT INTO messaging.dead_letter
    (consumer, topic, broker, queue, queue_offset, waiting_key, identity, body, properties, state, reason, attempts)
VALUES
    ('stock', 'stock-lock', 'broker-a', 3, 17, '42', 'broker-a/3/17', 'secret body', '{}', 'dead', 'no such ticket type', 1)
RETURNING id
