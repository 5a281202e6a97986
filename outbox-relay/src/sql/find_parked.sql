select lane, position, n, topic, ordering_key, message_id, reason, state, parked_at, decided_by, decision_reason,
    decided_at, resolved_at
from relay.parked
where lane = $1 and position = $2 and n = $3
