SELECT action_id, recorded_at, actor, action, subject, detail
FROM operations.action
WHERE $1::bigint IS NULL OR action_id < $1
ORDER BY action_id DESC
LIMIT $2
