-- Why: redriving thousands of letters takes minutes and must outlive whoever does it. What is to be done is a row here, each
-- key it concerns a row beside it; whoever runs the handlers carries it out key by key, and after a kill -9 another goes on.
CREATE TABLE messaging.redrive (
    redrive_id        uuid PRIMARY KEY,
    -- done: every key was gone through, stopped ones included. failed: every key stopped and nothing was delivered.
    state             text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    -- What was asked for, as it was asked.
    selection         jsonb NOT NULL,
    -- A dead letter of another cause is not tried: its key stops there. NULL: any cause.
    cause             text,
    rate_per_second   integer NOT NULL CHECK (rate_per_second > 0),
    started_by        text NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at          timestamptz,
    -- Who carries it out, and until when nobody else may.
    worker            text,
    worker_until      timestamptz,
    CHECK ((ended_at IS NULL) = (state = 'running'))
);

-- Asked for by everybody who could carry one out; mostly empty.
CREATE INDEX redrive_running ON messaging.redrive (started_at) WHERE state = 'running';
-- The list, newest first, and clean-up by age.
CREATE INDEX redrive_by_start ON messaging.redrive (started_at, redrive_id);

CREATE TABLE messaging.redrive_key (
    redrive_id       uuid NOT NULL REFERENCES messaging.redrive ON DELETE CASCADE,
    -- The undelivered row the key began with.
    first_letter_id  bigint NOT NULL,
    consumer         text NOT NULL,
    -- NULL: the letter stands alone.
    waiting_key      text,
    topic            text NOT NULL,
    cause            text NOT NULL,
    -- To be applied, when the redrive was asked for. More may come behind them meanwhile.
    messages         bigint NOT NULL,
    state            text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'stopped')),
    -- Counted in the transaction that marks the letter, so that nothing counts that was not applied.
    delivered        bigint NOT NULL DEFAULT 0,
    -- Why it stopped.
    reason           text,
    PRIMARY KEY (redrive_id, first_letter_id)
);

CREATE INDEX redrive_key_waiting ON messaging.redrive_key (redrive_id, first_letter_id) WHERE state = 'waiting';
