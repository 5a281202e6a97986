-- The baseline most people write: an identity column for the order, an outbox table beside it.
create schema baseline;
create table baseline.event (
    position bigint generated always as identity primary key,
    stream text not null,
    version bigint not null,
    type text not null,
    payload jsonb not null,
    recorded_at timestamptz not null default now(),
    unique (stream, version)
);
create table baseline.outbox (
    id bigint generated always as identity primary key,
    message_id uuid not null,
    topic text not null,
    key text not null,
    payload jsonb not null
);
