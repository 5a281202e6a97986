select position, stream_id, version, event_id, type, schema_version, payload::text, metadata::text, recorded_at, hash
from store.events
where position > $2 and position <= $3 and starts_with(stream_id, $1)
order by position
