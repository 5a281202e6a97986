UPDATE operations.rollout
SET version = version + 1, mode = $1, async_percent = $2, groups = $3, fallback = $4, changed_by = $5,
    changed_at = clock_timestamp()
