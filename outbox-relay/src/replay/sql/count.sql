-- The messages wanted that were sent, by the type of their events.
select e.type, count(*), min(o.position), max(o.position)
from unnest($1::smallint[], $2::bigint[], $3::smallint[]) as ends(lane, position, n)
join store.outbox o on o.lane = ends.lane and o.position > $4 and (o.position, o.n) <= (ends.position, ends.n)
join store.events e on e.position = o.position
where relay.is_wanted(e.stream_id, o.ordering_key, o.business_id, o.body, $5, $6)
    and not exists (
        select from relay.parked p
        where p.lane = o.lane and p.position = o.position and p.n = o.n and p.state <> 'sent'
    )
group by e.type
order by e.type
