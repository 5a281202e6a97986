DELETE FROM messaging.redrive
WHERE redrive_id = ANY (ARRAY(
    SELECT redrive_id
    FROM messaging.redrive
    WHERE ended_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY started_at
    LIMIT $2
))
