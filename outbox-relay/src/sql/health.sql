select
    (select state from relay.circuit where dependency = 'broker'),
    (select (extract(epoch from clock_timestamp() - reported_at) * 1000)::bigint
     from relay.circuit where dependency = 'broker'),
    (select greatest(0, extract(epoch from clock_timestamp() - e.recorded_at) * 1000)::bigint
     from store.events e
     where e.position = (
        -- Positions are in the order of time: the least one is the oldest.
        select min(first.position)
        from generate_series(0, $1 - 1) as l(lane)
        left join relay.cursor c on c.lane = l.lane
        cross join lateral (
            select o.position
            from store.outbox o
            where o.lane = l.lane::smallint
                and (o.position, o.n) > (coalesce(c.position, 0), coalesce(c.n, 0::smallint))
            order by o.position, o.n
            limit 1
        ) first
     ))
