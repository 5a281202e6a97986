UPDATE messaging.dead_letter
SET state = $2, reason = $3, attempts = attempts + 1
WHERE id = $1
