-- Why: how far everything is behind must be known where it is asked, not only in the process that works: the relay says how
-- fast it sends, each member of a consumer group that it is alive. And "nothing waits" must not be believed when a message
-- got lost on the way: what was sent is counted against what was accounted for.

-- What the active relay did since its last word; null where it can't say yet.
alter table relay.circuit
    add column sent_per_second    double precision,
    add column in_flight_messages bigint;

-- A sign of life of each member of each consumer group, every few seconds. Unlogged: after a crash nobody believes it anyway,
-- and it costs no flush.
create unlogged table messaging.member (
    consumer_group     text             not null,
    topic              text             not null,
    -- One run of one consumer, not its process.
    member             text             not null,
    is_connected       boolean          not null,
    applied_per_second double precision not null,
    seen_at            timestamptz      not null,
    constraint member_pkey primary key (consumer_group, topic, member)
) with (fillfactor = 50);

-- How long orders took from the ledger to the eyes of a reader: how many, by logarithmic classes. Unlogged as above.
create unlogged table operations.critical_time (
    measured_at timestamptz not null default clock_timestamp(),
    -- 'order_visible', 'order_confirmed'.
    effect      text        not null,
    -- Took at most 1.1 ^ class milliseconds.
    class       smallint    not null,
    orders      bigint      not null
);
create index critical_time_by_time on operations.critical_time (measured_at);

-- How far each consumer's messages were counted, by the position of the event that caused them.
create table operations.missing_checked (
    consumer    text        not null,
    topic       text        not null,
    position    bigint      not null,
    checked_at  timestamptz not null,
    constraint missing_checked_pkey primary key (consumer, topic)
);

-- Messages that were sent and passed by their consumer without a trace. The row goes when a trace appears.
create table operations.missing_message (
    consumer     text        not null,
    message_id   uuid        not null,
    topic        text        not null,
    lane         smallint    not null,
    position     bigint      not null,
    n            smallint    not null,
    noticed_at   timestamptz not null default clock_timestamp(),
    -- Looked at again later, and still without a trace: null until then.
    confirmed_at timestamptz,
    constraint missing_message_pkey primary key (consumer, message_id)
);
