-- Why: whether the payment provider answers is learnt where it is called, and must be known where people ask to pay, before
-- anything is written for them. The news ends by itself: whoever brought it may be dead, and while nobody may pay nobody
-- would find out that the provider is back.

CREATE TABLE processing.circuit (
    dependency text        PRIMARY KEY,
    state      text        NOT NULL CHECK (state IN ('closed', 'open')),
    -- Until when nobody should try, by the database's clock.
    open_until timestamptz,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((open_until IS NOT NULL) = (state = 'open'))
);
