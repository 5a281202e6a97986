-- Of each lane the last so many messages that were sent are not acknowledged: the first of those is the oldest. Where a
-- lane has fewer rows left, the oldest it has. What is parked never reached the broker, so nothing of it waits there.
select max(greatest(0, extract(epoch from clock_timestamp() - e.recorded_at) * 1000)::bigint)
from unnest($1::smallint[], $2::bigint[]) as behind(lane, messages)
join relay.cursor c on c.lane = behind.lane
cross join lateral (
    select coalesce(
        (
            select o.position
            from store.outbox o
            where o.lane = behind.lane and (o.position, o.n) <= (c.position, c.n)
                and not exists (
                    select from relay.parked p
                    where p.lane = o.lane and p.position = o.position and p.n = o.n and p.state <> 'sent'
                )
            order by o.position desc, o.n desc
            offset behind.messages - 1
            limit 1
        ),
        (
            select o.position
            from store.outbox o
            where o.lane = behind.lane
                and not exists (
                    select from relay.parked p
                    where p.lane = o.lane and p.position = o.position and p.n = o.n and p.state <> 'sent'
                )
            order by o.position, o.n
            limit 1
        )
    ) as position
) oldest
join store.events e on e.position = oldest.position
