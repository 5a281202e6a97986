-- Why: whether an order is taken through the broker or in the request must be the same question with the same answer in every
-- process, change while they run, survive their restarts, and say who changed it.

-- The policy. Its changes are recorded in operations.action, in the same transaction.
CREATE TABLE operations.rollout (
    only_row        boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (only_row),
    -- Grows with every change: who changes what they have read says which version that was.
    version         bigint      NOT NULL,
    mode            text        NOT NULL CHECK (mode IN ('async', 'sync')),
    async_percent   smallint    NOT NULL CHECK (async_percent BETWEEN 0 AND 100),
    -- Mode by the name of a group.
    groups          jsonb       NOT NULL,
    fallback        text        NOT NULL CHECK (fallback IN ('sync', 'none')),
    changed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by      text        NOT NULL
);

INSERT INTO operations.rollout (version, mode, async_percent, groups, fallback, changed_by)
VALUES (1, 'async', 100, '{}', 'sync', 'system');

-- Whether new orders go around the broker just now. One row for all processes, so that they switch together, and once.
CREATE TABLE operations.rollout_fallback (
    only_row        boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (only_row),
    is_active       boolean     NOT NULL,
    reason          text,
    changed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the broker or the outbox was last seen to be bad: the way back is open some time after it.
    unhealthy_at    timestamptz
);

INSERT INTO operations.rollout_fallback (is_active) VALUES (false);

-- A relay that died says nothing more: without a sign of life its last word on the broker counts for nothing.
ALTER TABLE relay.circuit ADD COLUMN reported_at timestamptz NOT NULL DEFAULT clock_timestamp();
