-- Messages that were applied and are said not to have been: applying them again has no second effect, so all go through.
INSERT INTO messaging.dead_letter
    (consumer, topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties, state, reason,
     cause, attempts)
SELECT 'order', topic, 'test', 0, position, ordering_key, message_id, 'test/' || message_id, convert_to(body, 'UTF8'), '{}',
    'dead', 'the provider was away', 'failed: the provider was away', 16
FROM store.outbox
WHERE topic = 'order-create'
