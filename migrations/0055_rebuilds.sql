-- Why: a rebuild is asked for in one process and carried out in another, takes minutes, and may be killed at any moment.
-- Its row moves in the transaction of each range of the ledger, so that what is built and how far that is never part, and
-- whoever comes next goes on from there. The rows stay: they say what was rebuilt, at whose word, and how it ended.
create table projection.rebuild (
    id                bigint generated always as identity primary key,
    name              text not null references projection.read_model (name),
    -- Of the table that is built.
    version           integer not null,
    -- The fold that builds it: another fold does not go on with it, it starts again.
    code_version      integer not null,
    state             text not null default 'running' check (state in ('running', 'verifying', 'done', 'failed')),
    -- Only compare: the table that is shown stays.
    dry_run           boolean not null,
    -- The last ledger position that is in the table, and where it has to come to.
    position          bigint not null default 0 check (position >= 0),
    target            bigint not null default 0,
    events_per_second double precision,
    -- The fencing token of who works on it; a smaller one may not write again.
    lease_token       bigint not null default 0,
    requested_by      text not null,
    started_at        timestamptz not null default clock_timestamp(),
    updated_at        timestamptz not null default clock_timestamp(),
    ended_at          timestamptz,
    -- Rows in which the table that was shown and the new one differ, and the first of them in words.
    differences       bigint,
    examples          text[] not null default '{}',
    -- Why it failed.
    problem           text,
    constraint rebuild_version_key unique (name, version)
) with (fillfactor = 50);

-- One at a time, whoever asks.
create unique index rebuild_unfinished on projection.rebuild (name) where state in ('running', 'verifying');

-- The version shown before, which a rollback shows again; it is kept up to date until the next rebuild ends.
alter table projection.read_model add column previous_version integer;

-- Which fold built each version: shown again, an old version is still an old version.
alter table projection.checkpoint add column code_version integer not null default 1;
update projection.checkpoint c
set code_version = m.code_version
from projection.read_model m
where m.name = c.name and m.active_version = c.version;
