-- Why: the ledger is the only place where state lives. Events are never changed or taken away; positions are gapless
-- and in commit order, which the append function (0004) sees to.

create schema store;

create table store.events (
    position        bigint      not null,
    -- "C": identifiers are compared as bytes, not by the rules of a language.
    stream_id       text        collate "C" not null,
    version         bigint      not null,
    event_id        uuid        not null,
    type            text        not null,
    schema_version  smallint    not null,
    -- json and not jsonb: jsonb rewrites what was hashed.
    payload         json        not null,
    metadata        json        not null,
    recorded_at     timestamptz not null,
    hash            bytea       not null,
    constraint events_pkey primary key (position),
    constraint events_stream_version_key unique (stream_id, version),
    constraint events_version_check check (version > 0),
    constraint events_hash_check check (octet_length(hash) = 32)
);

-- One row per append, insert-only: an updated head row bloats behind an old snapshot and loses half its speed.
create table store.ledger_batch (
    last_position   bigint      not null,
    first_position  bigint      not null,
    -- Names the append, so that one whose answer was lost can be sent again.
    batch_id        uuid        not null,
    -- sha256(hash of the batch before || hashes of this batch's events, in order).
    hash            bytea       not null,
    -- The groups of the append that were refused.
    refused         int[]       not null,
    recorded_at     timestamptz not null,
    constraint ledger_batch_pkey primary key (last_position),
    constraint ledger_batch_batch_id_key unique (batch_id)
);

insert into store.ledger_batch (last_position, first_position, batch_id, hash, refused, recorded_at)
values (0, 1, '00000000-0000-0000-0000-000000000000', sha256(''), '{}', clock_timestamp());

create function store.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only', tg_table_schema, tg_table_name using errcode = 'insufficient_privilege';
end $$;

create trigger append_only before update or delete or truncate on store.events
    for each statement execute function store.refuse_change();
create trigger append_only before update or delete or truncate on store.ledger_batch
    for each statement execute function store.refuse_change();

revoke update, delete, truncate on store.events, store.ledger_batch from public;
revoke update, delete, truncate on store.events, store.ledger_batch from current_user;
