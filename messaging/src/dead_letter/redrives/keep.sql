UPDATE messaging.redrive
SET worker_until = clock_timestamp() + make_interval(secs => $3)
WHERE redrive_id = $1 AND worker = $2 AND state = 'running' AND worker_until > clock_timestamp()
