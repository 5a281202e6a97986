UPDATE messaging.redrive
SET state = 'cancelled', ended_at = clock_timestamp()
WHERE redrive_id = $1 AND state = 'running'
