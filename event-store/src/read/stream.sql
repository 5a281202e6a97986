select position, stream_id, version, event_id, type, schema_version, payload::text, metadata::text, recorded_at, hash
from store.events
where stream_id = $1 and version > $2
order by version
limit $3
