WITH edited AS (
    UPDATE messaging.dead_letter
    SET body = $2,
        original_body = coalesce(original_body, body),
        message_id = $3,
        waiting_key = $4
    WHERE id = $1 AND state IN ('dead', 'behind')
    RETURNING consumer, identity, attempts
)
INSERT INTO messaging.dead_letter_history (consumer, identity, actor, action, reason, attempt)
SELECT consumer, identity, $5, 'edited', $6, attempts
FROM edited
