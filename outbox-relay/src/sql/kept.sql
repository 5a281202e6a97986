select o.lane, o.position, o.n, o.topic, o.ordering_key, o.business_id, o.event_type, o.message_id, o.body,
    e.stream_id, e.version, e.metadata::text
from unnest($1::smallint[], $2::bigint[], $3::smallint[]) as wanted(lane, position, n)
join store.outbox o using (lane, position, n)
join store.events e on e.position = o.position
order by o.position, o.n, o.lane
