select o.lane, o.position, o.n, o.topic, o.ordering_key, o.business_id, o.event_type, o.message_id, o.body,
    o.stream_id, o.version, o.metadata, o.is_wanted
from unnest($1::smallint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::smallint[])
    as reached(lane, position, n, end_position, end_n)
cross join lateral (
    select o.*, e.*,
        relay.is_wanted(e.stream_id, o.ordering_key, o.business_id, o.body, $7, $8) and not exists (
            select from relay.parked p
            where p.lane = o.lane and p.position = o.position and p.n = o.n and p.state <> 'sent'
        ) as is_wanted
    from store.outbox o
    cross join lateral (
        select e.stream_id, e.version, e.metadata::text from store.events e where e.position = o.position offset 0
    ) e
    where o.lane = reached.lane and (o.position, o.n) > (reached.position, reached.n)
        and (o.position, o.n) <= (reached.end_position, reached.end_n)
    order by o.position, o.n
    limit $6
) o
