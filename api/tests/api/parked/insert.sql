INSERT INTO relay.parked (lane, position, n, topic, ordering_key, message_id, reason, state)
VALUES
    (17, 5, 0, 'stock-lock', '42', 'a0a0a0a0-0000-4000-8000-000000000001', 'the message has 5000000 bytes', 'parked'),
    (17, 6, 0, 'stock-lock', '42', 'a0a0a0a0-0000-4000-8000-000000000002', 'behind an earlier message of 42', 'behind')
