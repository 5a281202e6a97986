SELECT at, actor, action, reason, attempt
FROM (
    SELECT entry.*
    FROM messaging.dead_letter AS letter
    JOIN messaging.dead_letter_history AS entry USING (consumer, identity)
    WHERE letter.id = $1
    ORDER BY entry.entry_id DESC
    LIMIT $2
) AS newest
ORDER BY entry_id
