UPDATE processing.sandbox_payment
SET refunded_amount = $2,
    refund_reference = coalesce(refund_reference, $3)
WHERE payment_id = $1
  AND status = 'SUCCEEDED'
  AND $2 <= amount
  AND coalesce(refunded_amount, $2) = $2
RETURNING payment_id, refunded_amount, refund_reference
