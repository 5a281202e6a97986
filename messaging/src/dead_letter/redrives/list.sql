-- ids are version 7, so their order is that of the starts.
SELECT redrive.redrive_id, redrive.state, redrive.rate_per_second, redrive.started_at, redrive.ended_at, redrive.started_by,
       redrive.selection,
       CASE WHEN redrive.worker_until > clock_timestamp() THEN redrive.worker END AS worker,
       keys.selected, keys.delivered, keys.keys, keys.stopped_keys
FROM (
    SELECT *
    FROM messaging.redrive
    WHERE ($1::uuid IS NULL OR redrive_id = $1)
      AND ($2::uuid IS NULL OR redrive_id < $2)
    ORDER BY redrive_id DESC
    LIMIT $3
) AS redrive
CROSS JOIN LATERAL (
    SELECT coalesce(sum(greatest(key.messages, key.delivered)), 0)::bigint AS selected,
           coalesce(sum(key.delivered), 0)::bigint AS delivered,
           count(*) AS keys,
           count(*) FILTER (WHERE key.state = 'stopped') AS stopped_keys
    FROM messaging.redrive_key AS key
    WHERE key.redrive_id = redrive.redrive_id
) AS keys
ORDER BY redrive.redrive_id DESC
