-- Why: a message leaves with the event that caused it or not at all. Rows are read in the order of their lane, which is
-- one queue of one topic, and taken away in ranges once they were sent.

create table store.outbox (
    lane            smallint    not null,
    -- Position of the event that caused the message.
    position        bigint      not null,
    -- Several messages of one event.
    n               smallint    not null,
    topic           text        not null,
    ordering_key    text        not null,
    business_id     text        not null,
    event_type      text        not null,
    message_id      uuid        not null,
    body            text        not null,
    constraint outbox_pkey primary key (lane, position, n)
);

-- Every row is deleted soon after it was written: clean up by the number of dead rows, not by a share of the table, and
-- without pausing, so that readers do not walk over the dead.
alter table store.outbox set (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);
