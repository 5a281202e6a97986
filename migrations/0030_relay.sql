-- Why: the relay must know, after a crash, what the broker confirmed; it must not let a message that can never be sent
-- stop all others of its lane; and everybody must be able to see how it is doing.

create schema relay;

-- How far each lane was sent. The token is the lease's: a relay that lost its lease moves nothing.
create table relay.cursor (
    lane            smallint    not null,
    -- The last row of the outbox that the broker confirmed, or that was parked.
    position        bigint      not null,
    n               smallint    not null,
    token           bigint      not null,
    constraint cursor_pkey primary key (lane)
)
-- Few rows, each updated many times a second: room on the page keeps the updates off the index.
with (fillfactor = 10);

-- Messages that the broker will not take, and the later ones of their ordering key, which must not overtake them. The
-- message itself stays in the outbox until its row here is resolved.
create table relay.parked (
    lane            smallint    not null,
    position        bigint      not null,
    n               smallint    not null,
    topic           text        not null,
    ordering_key    text        not null,
    message_id      uuid        not null,
    reason          text        not null,
    -- parked: can't be sent. behind: waits for an earlier one of its key. release, skip: somebody decided so, and the
    -- active relay is to do it, in the order of the lane. sent, skipped: done.
    state           text        not null default 'parked',
    parked_at       timestamptz not null default clock_timestamp(),
    decided_by      text,
    decision_reason text,
    decided_at      timestamptz,
    resolved_at     timestamptz,
    constraint parked_pkey primary key (lane, position, n),
    constraint parked_state_check check (state in ('parked', 'behind', 'release', 'skip', 'sent', 'skipped')),
    constraint parked_decided_check check (state not in ('release', 'skip') or decided_by is not null),
    constraint parked_resolved_check check ((resolved_at is not null) = (state in ('sent', 'skipped')))
);

create index parked_unresolved on relay.parked (lane, position, n) where state in ('parked', 'behind', 'release', 'skip');
-- Asked four times a second, and nearly always empty.
create index parked_decided on relay.parked (lane) where state in ('release', 'skip');

-- Whether the broker takes messages, as the active relay sees it, for processes that have no connection of their own.
create table relay.circuit (
    dependency      text        not null,
    state           text        not null,
    changed_at      timestamptz not null,
    reported_by     text        not null,
    constraint circuit_pkey primary key (dependency),
    constraint circuit_state_check check (state in ('closed', 'half_open', 'open'))
);
