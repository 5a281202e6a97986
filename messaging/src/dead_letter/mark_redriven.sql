UPDATE messaging.dead_letter
SET state = 'redriven', attempts = attempts + 1, resolved_at = clock_timestamp(), resolved_by = $2
WHERE id = $1
