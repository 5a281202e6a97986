-- The no-op update returns the row that was there before, if the same payment is started again;
-- a different payment under the same id returns nothing.
INSERT INTO processing.sandbox_payment AS known
    (payment_id, order_id, amount, payment_method, provider_reference, webhook_id, callback_due_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::double precision * interval '1 millisecond')
ON CONFLICT (payment_id) DO UPDATE
SET payment_id = known.payment_id
WHERE known.order_id = excluded.order_id
  AND known.amount = excluded.amount
  AND known.payment_method = excluded.payment_method
RETURNING payment_id, amount, status, provider_reference, settled_at
