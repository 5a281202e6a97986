select p.lane, p.position, p.n, o.topic, o.ordering_key, o.business_id, o.event_type, o.message_id, o.body,
    e.stream_id, e.version, e.metadata::text, p.state
from relay.parked p
join store.outbox o using (lane, position, n)
join store.events e using (position)
where p.lane = $1 and (p.position, p.n) > ($2, $3) and p.state in ('parked', 'behind', 'release', 'skip')
order by p.position, p.n
limit $4
