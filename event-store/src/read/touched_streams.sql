select distinct stream_id
from store.events
where position > $2 and position <= $3 and stream_id = any($1)
