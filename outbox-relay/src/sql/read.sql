select o.lane, o.position, o.n, o.topic, o.ordering_key, o.business_id, o.event_type, o.message_id, o.body,
    o.stream_id, o.version, o.metadata
from unnest($1::smallint[], $2::bigint[], $3::smallint[]) as sent(lane, position, n)
cross join lateral (
    select o.*, e.*
    from store.outbox o
    -- offset 0: one index look-up per row, never a scan of all events, whatever the planner thinks of their number.
    cross join lateral (
        select e.stream_id, e.version, e.metadata::text from store.events e where e.position = o.position offset 0
    ) e
    where o.lane = sent.lane and (o.position, o.n) > (sent.position, sent.n) and o.position <= $4
    order by o.position, o.n
    limit $5
) o
