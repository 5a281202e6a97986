UPDATE messaging.redrive
SET worker = NULL, worker_until = NULL
WHERE redrive_id = $1 AND worker = $2 AND state = 'running'
