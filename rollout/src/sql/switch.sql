UPDATE operations.rollout_fallback
SET is_active = $1, reason = $2, changed_at = clock_timestamp(),
    unhealthy_at = CASE WHEN $1 THEN clock_timestamp() ELSE unhealthy_at END
WHERE is_active <> $1
