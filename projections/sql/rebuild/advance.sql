-- Conditional on where it stood and on who works on it.
update projection.rebuild
set position = $4,
    target = $5,
    events_per_second = $6,
    updated_at = clock_timestamp()
where id = $1 and lease_token = $2 and position = $3 and state = 'running'
