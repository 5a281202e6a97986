-- Why: what makes a command's effects happen once, what must happen at a time, and what saves work.

-- Inbox ids, idempotency keys with their answers, webhook ids. Written by the append that has the effect.
create table store.command_key (
    scope           text        collate "C" not null,
    key             text        collate "C" not null,
    request_hash    bytea,
    response        text,
    -- Position of the command's last event; null when it had none.
    position        bigint,
    created_at      timestamptz not null,
    constraint command_key_pkey primary key (scope, key)
);
-- Old keys are found by age; rows lie in the order of their time, so a few bytes a block range are index enough.
create index command_key_created_at on store.command_key using brin (created_at)
    with (pages_per_range = 32, autosummarize = on);

-- Compared with the database's clock only.
create table store.deadline (
    kind            text        collate "C" not null,
    key             text        collate "C" not null,
    due_at          timestamptz not null,
    constraint deadline_pkey primary key (kind, key)
);
create index deadline_due on store.deadline (kind, due_at);
-- Deadlines come and go with every order.
alter table store.deadline set (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);

-- Folded states, which can be thrown away at any time.
create table store.snapshot (
    stream_id       text        collate "C" not null,
    -- What wrote it; a snapshot of another schema is not read.
    schema          text        not null,
    version         bigint      not null,
    position        bigint      not null,
    state           text        not null,
    written_at      timestamptz not null default now(),
    constraint snapshot_pkey primary key (stream_id)
);

create table store.lease (
    name            text        collate "C" not null,
    holder          text        not null,
    -- Grows with every holder: an effect with a smaller one comes from a zombie.
    token           bigint      not null,
    expires_at      timestamptz not null,
    constraint lease_pkey primary key (name)
) with (fillfactor = 50);
