-- Why: one round trip and one transaction for many commands, each accepted whole or refused whole, at gapless positions
-- in commit order.
--
-- A group is what is accepted or refused together. Arrays of one prefix belong together, element by element; *_event
-- refers to events by their place in the event arrays, from 1.
--
-- The lock, which people find in pg_locks, is advisory lock 7101. Three things must stay as they are:
-- * The lock is taken in a statement of its own, before anything is read. A statement sees the ledger as it was when the
--   statement began: reading in the statement that waits for the lock gives stale verdicts.
-- * The lock is held until the transaction's effects are visible, so nobody sees position n + 1 before n.
-- * Nothing is updated: head and verdicts are insert-only, so an old snapshot elsewhere slows nothing down.

create function store.append(
    this_batch              uuid,

    expected_groups         int[],
    expected_streams        text[],
    expected_versions       bigint[],

    event_groups            int[],
    event_streams           text[],
    event_versions          bigint[],
    event_ids               uuid[],
    event_types             text[],
    event_schemas           smallint[],
    event_payloads          text[],
    event_metadata          text[],
    event_hashes            bytea[],

    outbox_events           int[],
    outbox_numbers          smallint[],
    outbox_lanes            smallint[],
    outbox_topics           text[],
    outbox_ordering_keys    text[],
    outbox_business_ids     text[],
    outbox_event_types      text[],
    outbox_message_ids      uuid[],
    outbox_bodies           text[],

    key_groups              int[],
    key_scopes              text[],
    keys                    text[],
    -- False: only look whether it is known, for a command that was rejected.
    key_inserts             boolean[],
    -- The command's last event; 0 when it has none.
    key_events              int[],
    key_request_hashes      bytea[],
    key_responses           text[],

    deadline_groups         int[],
    deadline_kinds          text[],
    deadline_keys           text[],
    -- Null takes the deadline away.
    deadline_dues           timestamptz[],

    -- Lock numbers of streams that the caller writes from its cache.
    watched                 int[],

    -- True: this batch was appended before, and base and refused are what was answered then.
    out known               boolean,
    -- The position before the first accepted event.
    out base                bigint,
    out refused             int[],
    -- Places in expected_* that did not hold.
    out conflicts           bigint[],
    -- Places in key_* that exist already, and what is stored with them.
    out duplicates          bigint[],
    out duplicate_request_hashes bytea[],
    out duplicate_responses text[],
    out duplicate_positions bigint[],
    -- Those of watched that another session holds, to have its turn: the caller should queue for them next time.
    out wanted              int[],
    out clock               timestamptz
)
language plpgsql volatile
-- The plans are index look-ups whatever the arrays hold: planning them again each time costs a quarter of a small
-- append, and a plan made while a table was still empty must not scan it later.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_variable
declare
    previous    bytea;
    positions   bigint[];
    accepted    bigint;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'store.append needs READ COMMITTED: it must see what was committed while it waited for the lock';
    end if;

    perform pg_advisory_xact_lock(7101);
    clock := clock_timestamp();

    select b.first_position - 1, b.refused into base, refused
    from store.ledger_batch b where b.batch_id = this_batch;
    known := found;
    if known then
        -- The first answer may have been lost while the commit waited for a synchronous standby; a read would not wait
        -- for it. This writes a record, so that its commit waits until the standby has it and all before it.
        perform pg_logical_emit_message(true, 'order-ledger', this_batch::text);
        return;
    end if;

    select b.last_position, b.hash into strict base, previous
    from store.ledger_batch b order by b.last_position desc limit 1;

    select array_agg(e.ordinal), array_agg(e.group_no) into conflicts, refused
    from unnest(expected_groups, expected_streams, expected_versions)
        with ordinality as e(group_no, stream_id, version, ordinal)
    where e.version <> coalesce(
        (select s.version from store.events s where s.stream_id = e.stream_id order by s.version desc limit 1), 0);

    if cardinality(keys) > 0 then
        select array_agg(k.ordinal), array_agg(c.request_hash), array_agg(c.response), array_agg(c.position),
            refused || array_agg(k.group_no) filter (where k.is_insert)
        into duplicates, duplicate_request_hashes, duplicate_responses, duplicate_positions, refused
        from unnest(key_groups, key_scopes, keys, key_inserts)
            with ordinality as k(group_no, scope, key, is_insert, ordinal)
        join store.command_key c on c.scope = k.scope and c.key = k.key;
    end if;
    refused := coalesce(refused, '{}');

    if cardinality(watched) > 0 then
        select array_agg(w.number) into wanted
        from unnest(watched) as w(number) where not pg_try_advisory_xact_lock_shared(7102, w.number);
    end if;

    -- The position of each event; 0 for those of refused groups.
    accepted := cardinality(event_groups);
    if refused = '{}' then
        positions := array(select generate_series(base + 1, base + accepted));
    else
        select array_agg(case when e.is_accepted then base + e.nth else 0 end order by e.ordinal),
            count(*) filter (where e.is_accepted)
        into positions, accepted
        from (
            select g.ordinal, g.group_no <> all (refused) as is_accepted,
                count(*) filter (where g.group_no <> all (refused)) over (order by g.ordinal) as nth
            from unnest(event_groups) with ordinality as g(group_no, ordinal)
        ) e;
    end if;

    if accepted > 0 then
        insert into store.events
            (position, stream_id, version, event_id, type, schema_version, payload, metadata, recorded_at, hash)
        select e.position, e.stream_id, e.version, e.event_id, e.type, e.schema_version, e.payload::json,
            e.metadata::json, clock, e.hash
        from unnest(positions, event_streams, event_versions, event_ids, event_types, event_schemas, event_payloads,
                event_metadata, event_hashes)
            as e(position, stream_id, version, event_id, type, schema_version, payload, metadata, hash)
        where e.position > 0;

        insert into store.ledger_batch (last_position, first_position, batch_id, hash, refused, recorded_at)
        select base + accepted, base + 1, this_batch, sha256(previous || string_agg(e.hash, '' order by e.position)),
            refused, clock
        from unnest(positions, event_hashes) as e(position, hash)
        where e.position > 0;

        if cardinality(outbox_events) > 0 then
            insert into store.outbox
                (lane, position, n, topic, ordering_key, business_id, event_type, message_id, body)
            select o.lane, positions[o.event], o.n, o.topic, o.ordering_key, o.business_id, o.event_type, o.message_id,
                o.body
            from unnest(outbox_events, outbox_numbers, outbox_lanes, outbox_topics, outbox_ordering_keys,
                    outbox_business_ids, outbox_event_types, outbox_message_ids, outbox_bodies)
                as o(event, n, lane, topic, ordering_key, business_id, event_type, message_id, body)
            where positions[o.event] > 0;
        end if;
    end if;

    if cardinality(keys) > 0 then
        insert into store.command_key (scope, key, request_hash, response, position, created_at)
        select k.scope, k.key, k.request_hash, k.response, case when k.event > 0 then positions[k.event] end, clock
        from unnest(key_groups, key_scopes, keys, key_inserts, key_events, key_request_hashes, key_responses)
            as k(group_no, scope, key, is_insert, event, request_hash, response)
        where k.is_insert and k.group_no <> all (refused);
    end if;

    if cardinality(deadline_keys) > 0 then
        -- Two commands may have set the same deadline: the later one counts.
        with latest as materialized (
            select distinct on (d.kind, d.key) d.kind, d.key, d.due_at
            from unnest(deadline_groups, deadline_kinds, deadline_keys, deadline_dues)
                with ordinality as d(group_no, kind, key, due_at, ordinal)
            where d.group_no <> all (refused)
            order by d.kind, d.key, d.ordinal desc
        ), taken_away as (
            delete from store.deadline s using latest l
            where s.kind = l.kind and s.key = l.key and l.due_at is null
        )
        insert into store.deadline as s (kind, key, due_at)
        select l.kind, l.key, l.due_at from latest l where l.due_at is not null
        on conflict (kind, key) do update set due_at = excluded.due_at where s.due_at <> excluded.due_at;
    end if;
end $$;
