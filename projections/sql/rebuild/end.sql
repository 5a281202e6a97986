update projection.rebuild
set state = $3,
    differences = $4,
    examples = $5,
    problem = $6,
    events_per_second = null,
    ended_at = clock_timestamp(),
    updated_at = clock_timestamp()
where id = $1 and lease_token = $2 and state in ('running', 'verifying')
