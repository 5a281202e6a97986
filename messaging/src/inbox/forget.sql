DELETE FROM messaging.inbox
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM messaging.inbox
    WHERE applied_at < clock_timestamp() - make_interval(secs => $1)
    LIMIT $2
))
