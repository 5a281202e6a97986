UPDATE messaging.redrive
SET ended_at = clock_timestamp(),
    state = (
        SELECT CASE WHEN count(*) FILTER (WHERE key.state = 'stopped') > 0 AND sum(key.delivered) = 0 THEN 'failed' ELSE 'done' END
        FROM messaging.redrive_key AS key
        WHERE key.redrive_id = $1
    )
WHERE redrive_id = $1 AND worker = $2 AND state = 'running'
  AND NOT EXISTS (SELECT FROM messaging.redrive_key AS key WHERE key.redrive_id = $1 AND key.state = 'waiting')
