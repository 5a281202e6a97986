UPDATE messaging.redrive
SET worker = NULL, worker_until = clock_timestamp()
WHERE redrive_id = $1 AND worker = $2 AND state = 'running'
