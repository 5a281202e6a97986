-- Only what failed by itself has another cause now; one whose dependency is away is as it was.
WITH failed AS (
    UPDATE messaging.dead_letter
    SET state = CASE WHEN $4 THEN 'dead' ELSE state END,
        cause = CASE WHEN $4 THEN $5 ELSE cause END,
        reason = $2,
        attempts = attempts + 1
    WHERE id = $1
    RETURNING consumer, identity, attempts
)
INSERT INTO messaging.dead_letter_history (consumer, identity, actor, action, reason, attempt)
SELECT consumer, identity, $3, 'failed_again', $2, attempts
FROM failed
