-- The sandbox payment provider's own books. It stands for a company outside, so it shares nothing with the
-- ledger but the server; a callback it owes is a row, so that a kill -9 between settling and calling back
-- loses nothing.

CREATE TABLE processing.sandbox_payment (
    payment_id         text          PRIMARY KEY,
    order_id           text          NOT NULL,
    amount             numeric(20,2) NOT NULL CHECK (amount >= 0),
    payment_method     text          NOT NULL,
    status             text          NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SUCCEEDED', 'FAILED')),
    provider_reference text          NOT NULL,
    -- The same on every retry of the callback: the receiver dedupes by it.
    webhook_id         text          NOT NULL,
    settled_at         timestamptz,
    -- When the callback is to be sent (again); NULL when none is owed.
    callback_due_at    timestamptz,
    callback_attempts  integer       NOT NULL DEFAULT 0,
    callback_status    integer,
    refunded_amount    numeric(20,2) CHECK (refunded_amount <= amount),
    refund_reference   text,
    created_at         timestamptz   NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX sandbox_payment_callback_due ON processing.sandbox_payment (callback_due_at)
    WHERE callback_due_at IS NOT NULL;
