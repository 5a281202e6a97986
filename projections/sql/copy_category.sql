copy (
    select position, stream_id, version, type, schema_version, payload::text, recorded_at
    from store.events
    where position > {after} and position <= {upto} and starts_with(stream_id, '{category}-')
    order by position
) to stdout (format binary)
