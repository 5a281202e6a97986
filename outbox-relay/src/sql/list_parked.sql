select lane, position, n, topic, ordering_key, message_id, reason, state, parked_at, decided_by, decision_reason,
    decided_at, resolved_at
from relay.parked
where (lane, position, n) > ($1, $2, $3) and ($4 or state in ('parked', 'behind', 'release', 'skip'))
order by lane, position, n
limit $5
