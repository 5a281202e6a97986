select distinct e.stream_id
from unnest($1::bigint[]) as chosen (position)
cross join lateral (select stream_id from store.events where position = chosen.position offset 0) e
where starts_with(e.stream_id, $2)
limit $3
