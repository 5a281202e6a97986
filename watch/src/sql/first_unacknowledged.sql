-- What is parked never reached the broker, so nothing of it waits there.
select o.position
from store.outbox o
where o.lane = $1 and (o.position, o.n) <= ($2, $3)
    and not exists (
        select from relay.parked p
        where p.lane = o.lane and p.position = o.position and p.n = o.n and p.state <> 'sent'
    )
order by o.position desc, o.n desc
offset $4 - 1
limit 1
