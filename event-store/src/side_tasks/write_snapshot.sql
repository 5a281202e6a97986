insert into store.snapshot as kept (stream_id, schema, version, position, state)
values ($1, $2, $3, $4, $5)
on conflict (stream_id) do update
set schema = excluded.schema, version = excluded.version, position = excluded.position, state = excluded.state,
    written_at = now()
where kept.schema <> excluded.schema or kept.version < excluded.version
