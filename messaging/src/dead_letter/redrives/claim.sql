-- Whoever has waited longest: since it was asked for, or since somebody last worked on it.
UPDATE messaging.redrive
SET worker = $1, worker_until = clock_timestamp() + make_interval(secs => $2)
WHERE redrive_id = (
    SELECT redrive_id
    FROM messaging.redrive
    WHERE state = 'running' AND (worker_until IS NULL OR worker_until <= clock_timestamp())
    ORDER BY coalesce(worker_until, started_at)
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING redrive_id, cause, rate_per_second, started_by, worker
