update relay.parked
set state = $4, decided_by = $5, decision_reason = $6, decided_at = clock_timestamp()
where lane = $1 and position = $2 and n = $3 and state in ('parked', 'release', 'skip')
