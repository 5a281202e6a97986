WITH forgotten AS (
    DELETE FROM messaging.dead_letter
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM messaging.dead_letter
        WHERE resolved_at < clock_timestamp() - make_interval(secs => $1)
        ORDER BY resolved_at
        LIMIT $2
    ))
    RETURNING consumer, identity
), with_history AS (
    DELETE FROM messaging.dead_letter_history AS entry
    USING forgotten
    WHERE (entry.consumer, entry.identity) = (forgotten.consumer, forgotten.identity)
)
SELECT count(*) FROM forgotten
