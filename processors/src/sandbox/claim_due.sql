WITH due AS (
    SELECT payment_id
    FROM processing.sandbox_payment
    WHERE callback_due_at <= clock_timestamp()
    ORDER BY callback_due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE processing.sandbox_payment AS payment
SET status = CASE WHEN payment_method = $3 THEN 'FAILED' ELSE 'SUCCEEDED' END,
    settled_at = coalesce(settled_at, clock_timestamp()),
    callback_attempts = callback_attempts + 1,
    callback_due_at = clock_timestamp() + $2::double precision * interval '1 millisecond'
FROM due
WHERE payment.payment_id = due.payment_id
RETURNING payment.payment_id, order_id, amount, status, provider_reference, webhook_id, settled_at, callback_attempts
