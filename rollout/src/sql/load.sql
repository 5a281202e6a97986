SELECT r.version, r.mode, r.async_percent, r.groups, r.fallback, r.changed_at, r.changed_by,
    f.is_active, f.reason, f.changed_at AS fallback_changed_at,
    (extract(epoch FROM clock_timestamp() - f.unhealthy_at) * 1000)::bigint AS unhealthy_ago_ms
FROM operations.rollout r CROSS JOIN operations.rollout_fallback f
