copy (
    select position, stream_id, version, event_id, type, schema_version, payload::text, metadata::text, recorded_at, hash
    from store.events
    order by position
) to stdout (format binary)
