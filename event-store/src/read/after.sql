select position, stream_id, version, event_id, type, schema_version, payload::text, metadata::text, recorded_at, hash
from store.events
where position > $1 and position <= coalesce($3, 9223372036854775807)
order by position
limit $2
