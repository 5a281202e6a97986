-- The primary key begins with the lane: a look-up for each lane and position, never a scan of the outbox.
select o.lane, o.position, o.n, o.topic, o.event_type, o.message_id,
    coalesce((o.position, o.n) <= (c.position, c.n), false) as is_passed,
    p.state as parked_state, coalesce(p.decision_reason, p.reason) as reason
from store.outbox o
left join relay.cursor c on c.lane = o.lane
left join relay.parked p on p.lane = o.lane and p.position = o.position and p.n = o.n
where o.lane = any($1) and o.position = any($2)
order by o.position, o.n, o.lane
