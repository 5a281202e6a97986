WITH redriven AS (
    UPDATE messaging.dead_letter
    SET state = 'redriven', attempts = attempts + 1, resolved_at = clock_timestamp(), resolved_by = $2
    WHERE id = $1
    RETURNING consumer, identity, attempts
)
INSERT INTO messaging.dead_letter_history (consumer, identity, actor, action, reason, attempt)
SELECT consumer, identity, $2, 'redriven', $3, attempts
FROM redriven
