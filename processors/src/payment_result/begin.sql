INSERT INTO processing.payment_result AS known (webhook_id, order_id, payment_id, status, host, state, attempts)
VALUES ($1, $2, $3, $4, $5, 'trying', 1)
ON CONFLICT (webhook_id) DO UPDATE
SET state = 'trying', attempts = known.attempts + 1, last_attempt_at = clock_timestamp()
RETURNING attempts
