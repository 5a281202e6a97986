UPDATE messaging.dead_letter
SET state = 'discarded', resolved_at = clock_timestamp(), resolved_by = $2
WHERE id = $1 AND state IN ('dead', 'behind')
