-- Why: which fulfilments are under way, and which of them hang, must be a look at an index and not a fold of every
-- stream. `state` is the fold of the saga's own stream; the other columns are what people ask by, taken from it. Times
-- are those of events, so that two builds of the table are equal.
create table projection.sagas_v1 (
    order_id        text collate "C" primary key,
    ticket_type_id  bigint not null,
    -- running, completed or compensated.
    status          text collate "C" not null,
    step            text collate "C" not null,
    -- When it came to this step, or a person last decided about it.
    step_since      timestamptz not null,
    -- A compensation failed too often: only a person moves it.
    handed_over     boolean not null,
    state           jsonb not null,
    begun_at        timestamptz not null,
    begun_position  bigint not null,
    version         bigint not null,
    position        bigint not null
);
create index sagas_v1_by_status on projection.sagas_v1 (status, begun_position);
create index sagas_v1_by_begun on projection.sagas_v1 (begun_position);
-- Who hangs is asked every few seconds: of those under way, the ones that have not moved for long.
create index sagas_v1_running on projection.sagas_v1 (step_since) where status = 'running';

create view read_models.sagas as
    select order_id, ticket_type_id, status, step, step_since, handed_over, state, begun_at, begun_position, version,
           position
    from projection.sagas_v1;

insert into projection.read_model (name, active_version, code_version) values ('sagas', 1, 1);
insert into projection.checkpoint (name, version) values ('sagas', 1);
