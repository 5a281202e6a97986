select l.lane, l.position, pending.messages, oldest.age_ms
from (
    select l.lane::smallint, coalesce(c.position, 0) as position, coalesce(c.n, 0::smallint) as n
    from generate_series(0, $1 - 1) as l(lane)
    left join relay.cursor c on c.lane = l.lane
) l
cross join lateral (
    select count(*) as messages
    from store.outbox o
    where o.lane = l.lane and (o.position, o.n) > (l.position, l.n)
) pending
left join lateral (
    select greatest(0, extract(epoch from clock_timestamp() - e.recorded_at) * 1000)::bigint as age_ms
    from store.outbox o
    join store.events e on e.position = o.position
    where o.lane = l.lane and (o.position, o.n) > (l.position, l.n)
    order by o.position, o.n
    limit 1
) oldest on true
order by l.lane
