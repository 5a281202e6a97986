INSERT INTO messaging.redrive (redrive_id, selection, cause, rate_per_second, started_by)
VALUES ($1, $2, $3, $4, $5)
