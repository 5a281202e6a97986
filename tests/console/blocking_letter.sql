INSERT INTO messaging.dead_letter
    (consumer, topic, broker, queue, queue_offset, waiting_key, identity, body, properties, state, reason, cause, attempts)
VALUES
    ('stock', 'stock-lock', 'test', 3, 17, $1, 'test/blocking', 'no JSON', '{}', 'dead',
     'body is no message envelope: expected ident at line 1 column 2', 'poison: body is no message envelope', 0)
RETURNING id
