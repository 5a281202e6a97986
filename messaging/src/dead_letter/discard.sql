WITH discarded AS (
    UPDATE messaging.dead_letter
    SET state = 'discarded', resolved_at = clock_timestamp(), resolved_by = $2
    WHERE id = $1 AND state IN ('dead', 'behind')
    RETURNING consumer, identity, attempts
)
INSERT INTO messaging.dead_letter_history (consumer, identity, actor, action, reason, attempt)
SELECT consumer, identity, $2, 'discarded', $3, attempts
FROM discarded
