select position, stream_id, version, event_id, type, schema_version, payload::text, metadata::text, recorded_at, hash
from store.events
where stream_id = any($1) and position <= $2
order by stream_id, version
