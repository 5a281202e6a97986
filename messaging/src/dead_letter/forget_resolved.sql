DELETE FROM messaging.dead_letter
WHERE id = ANY (ARRAY(
    SELECT id
    FROM messaging.dead_letter
    WHERE resolved_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY resolved_at
    LIMIT $2
))
