-- One snapshot of the head, the cursors and what is after them.
select l.lane, coalesce(c.position, 0) as position, coalesce(c.n, 0::smallint) as n,
    coalesce(
        (
            select o.position - 1
            from store.outbox o
            where o.lane = l.lane and (o.position, o.n) > (coalesce(c.position, 0), coalesce(c.n, 0::smallint))
            order by o.position, o.n
            limit 1
        ),
        (select last_position from store.ledger_batch order by last_position desc limit 1)
    ) as sent_through
from unnest($1::smallint[]) as l(lane)
left join relay.cursor c on c.lane = l.lane
