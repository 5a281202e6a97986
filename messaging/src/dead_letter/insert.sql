-- A message that was discarded and came again is a new case: it goes to the end of its key. One that is still undelivered,
-- or was redriven, came again after a crash or by a replay: it stays as it is, and so does what a person made of it.
WITH parked AS (
    INSERT INTO messaging.dead_letter AS existing
        (consumer, topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties, state, reason, cause, attempts)
    SELECT $1, topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties::jsonb, state, reason, cause, attempts
    FROM unnest($2::text[], $3::text[], $4::integer[], $5::bigint[], $6::text[], $7::uuid[], $8::text[], $9::bytea[], $10::text[],
                $11::text[], $12::text[], $13::text[], $14::integer[])
         WITH ORDINALITY AS entry
             (topic, broker, queue, queue_offset, waiting_key, message_id, identity, body, properties, state, reason, cause, attempts, n)
    ORDER BY n
    ON CONFLICT (consumer, identity) DO UPDATE
    SET id = EXCLUDED.id,
        topic = EXCLUDED.topic,
        broker = EXCLUDED.broker,
        queue = EXCLUDED.queue,
        queue_offset = EXCLUDED.queue_offset,
        waiting_key = EXCLUDED.waiting_key,
        message_id = EXCLUDED.message_id,
        body = EXCLUDED.body,
        original_body = NULL,
        properties = EXCLUDED.properties,
        state = EXCLUDED.state,
        reason = EXCLUDED.reason,
        cause = EXCLUDED.cause,
        attempts = EXCLUDED.attempts,
        created_at = EXCLUDED.created_at,
        resolved_at = NULL,
        resolved_by = NULL
    WHERE existing.state = 'discarded' AND $15
    RETURNING id, consumer, identity, reason, attempts
)
INSERT INTO messaging.dead_letter_history (consumer, identity, action, reason, attempt)
SELECT consumer, identity, 'parked', reason, attempts
FROM parked
ORDER BY id
