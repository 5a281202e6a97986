-- Why: how long a caller waited is known only when the append is over, so no event can hold it. Each process writes a bounded
-- sample of its orders in batches; what became of them is in the ledger already.

CREATE TABLE operations.rollout_sample (
    sampled_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    mode            text        NOT NULL CHECK (mode IN ('async', 'sync')),
    -- What chose the mode: only what the policy chose is compared.
    cause           text        NOT NULL,
    -- Null for a request that failed.
    order_id        text,
    accept_us       bigint      NOT NULL,
    -- How many orders this one stands for.
    weight          real        NOT NULL
);

CREATE INDEX rollout_sample_by_time ON operations.rollout_sample (sampled_at);
-- Written and taken away in bulk.
ALTER TABLE operations.rollout_sample SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
