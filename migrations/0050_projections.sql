-- Why: a read model can be thrown away and built again from the ledger, so its tables carry a version in their name
-- (projection.orders_v1) and these two tables say which version people are shown and how far each one is.
-- `projection` belongs to the projectors; `read_models` holds plain views for queries and for people with a database tool.
create schema projection;
create schema read_models;

create table projection.read_model (
    name           text primary key,
    active_version integer not null,
    -- The fold that built the active version. Where it is older than the program's, a rebuild is due.
    code_version   integer not null,
    activated_at   timestamptz not null default clock_timestamp()
);

-- `live` versions are moved together, in one transaction, by the projector; the others are being built.
-- fillfactor leaves room for heap-only updates: the row changes several times a second, for ever.
create table projection.checkpoint (
    name              text not null references projection.read_model (name),
    version           integer not null,
    position          bigint not null default 0 check (position >= 0),
    live              boolean not null default true,
    -- The fencing token of the projector that wrote last. A smaller one may not write again.
    lease_token       bigint not null default 0,
    event_recorded_at timestamptz,
    updated_at        timestamptz not null default clock_timestamp(),
    primary key (name, version)
) with (fillfactor = 20);
