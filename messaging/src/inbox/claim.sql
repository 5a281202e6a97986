INSERT INTO messaging.inbox (consumer, message_id)
SELECT $1, message_id
FROM unnest($2::uuid[]) WITH ORDINALITY AS claim (message_id, n)
ORDER BY n
ON CONFLICT DO NOTHING
RETURNING message_id
