-- Why: "was it like this an hour ago?" must have an answer that outlives restarts, without a Prometheus beside us. And a broken
-- invariant should be found before somebody asks.

-- One row each few seconds, by one writer at a time. A time nobody measured has no row; what could not be known is null.
create table operations.sample (
    sampled_at                 timestamptz      not null default clock_timestamp(),
    head                       bigint           not null,
    events_per_second          double precision,
    orders_per_second          double precision,
    sent_per_second            double precision,
    outbox_pending             bigint           not null,
    -- 0: nothing waits.
    outbox_age_seconds         double precision not null,
    parked                     bigint           not null,
    consumer_lag_messages      bigint,
    consumer_lag_seconds       double precision,
    -- Messages by consumer group, null where unknown.
    group_lag_messages         jsonb            not null,
    projection_lag_events      bigint,
    projection_lag_seconds     double precision,
    dead_letters               bigint           not null,
    critical_time_p50_ms       double precision,
    critical_time_p99_ms       double precision,
    missing_messages           bigint,
    constraint sample_pkey primary key (sampled_at)
);

-- What a check of the invariants found, whoever made it.
create table operations.verification (
    verification_id bigint      generated always as identity primary key,
    checked_at      timestamptz not null default clock_timestamp(),
    -- 'verify': the command, all there is. 'watch': from time to time, what is cheap.
    made_by         text        not null check (made_by in ('verify', 'watch')),
    invariants      text[]      not null,
    -- The ledger's last position when it began.
    position        bigint      not null,
    -- [{"invariant": …, "message": …}]
    violations      jsonb       not null
);

-- How far the watch has walked the hash chain.
create table operations.chain_checked (
    only_row        boolean     not null default true primary key check (only_row),
    position        bigint      not null,
    checked_at      timestamptz not null default clock_timestamp()
);
