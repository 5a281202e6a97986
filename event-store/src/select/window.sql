select position, stream_id, version, event_id, type, schema_version, payload::text, metadata::text, recorded_at, hash
from store.events
where position > $1 and position <= $2
    and ($3::text is null or starts_with(stream_id, $3))
    and ($4::text is null or type = $4)
order by position
limit $5
