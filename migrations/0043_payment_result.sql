-- Why: who asked to be told how a payment ended is told until they have answered, a bounded number of times. Attempts are
-- counted before they are made, so that no crash makes them endless, and an operator sees here whom we cannot reach and why.
-- The address itself stays in the ledger: it may hold a token of its owner's.

CREATE TABLE processing.payment_result (
    -- The same on every attempt: the receiver dedupes by it.
    webhook_id      text        PRIMARY KEY,
    order_id        text        NOT NULL,
    payment_id      text        NOT NULL,
    status          text        NOT NULL CHECK (status IN ('SUCCEEDED', 'FAILED')),
    host            text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('trying', 'delivered', 'given_up')),
    attempts        integer     NOT NULL,
    last_error      text,
    last_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Clean-up by age, and "what failed lately".
CREATE INDEX payment_result_last_attempt ON processing.payment_result (last_attempt_at);
