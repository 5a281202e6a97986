-- Why: what waits on a broker that is away is in no backlog, and a process that began while it was away, or a name server that
-- forgot it, does not know that there is one. A lag without it would be a part shown as the whole.

create table relay.broker (
    name    text        not null,
    -- When it last answered, to the minute.
    seen_at timestamptz not null,
    constraint broker_pkey primary key (name)
);
