SELECT action_id, recorded_at, actor, action, subject, detail
FROM operations.action
WHERE ($1::bigint IS NULL OR action_id < $1)
  AND ($2::text IS NULL OR actor = $2)
  -- 'rollout' finds 'rollout.change' too.
  AND ($3::text IS NULL OR action = $3 OR starts_with(action, $3 || '.'))
  AND ($4::text IS NULL OR subject = $4)
ORDER BY action_id DESC
LIMIT $5
