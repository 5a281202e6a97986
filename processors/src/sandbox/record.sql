UPDATE processing.sandbox_payment AS payment
SET callback_status = attempt.status,
    callback_due_at = clock_timestamp() + attempt.retry_after_ms * interval '1 millisecond'
FROM unnest($1::text[], $2::integer[], $3::double precision[]) AS attempt (payment_id, status, retry_after_ms)
WHERE payment.payment_id = attempt.payment_id
