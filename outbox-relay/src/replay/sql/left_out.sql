-- What of the range is not sent yet, what was parked instead of sent, and what the clean-up took away: that last counted in
-- stretches, so that a range which cuts one knows only a bound.
select
    (
        select count(*)
        from unnest($1::smallint[]) as lanes(lane)
        left join relay.cursor c on c.lane = lanes.lane
        join store.outbox o on o.lane = lanes.lane and o.position > $2 and o.position <= $3
            and (o.position, o.n) > (coalesce(c.position, 0), coalesce(c.n, 0::smallint))
    ) as unsent,
    (
        select count(*)
        from relay.parked p
        where p.lane = any($1) and p.position > $2 and p.position <= $3 and p.state <> 'sent'
    ) as parked,
    coalesce(sum(t.messages), 0)::bigint as expired,
    max(least(t.last_position, $3)) as expired_through,
    coalesce(bool_or(t.first_position <= $2 or t.last_position > $3), false) as is_bound
from relay.taken_away t
where t.lane = any($1) and t.last_position > $2 and t.first_position <= $3
