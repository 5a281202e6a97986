SELECT EXISTS (
    SELECT FROM messaging.redrive
    WHERE state = 'running' AND (worker_until IS NULL OR worker_until <= clock_timestamp())
)
