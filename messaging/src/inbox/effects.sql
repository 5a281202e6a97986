-- Processors keep their message ids in the append, projections in the inbox: one answer of both, each by its primary key.
SELECT substr(scope, length($4) + 1) AS consumer, key::uuid AS message_id, created_at AS applied_at, position
FROM store.command_key
WHERE scope = ANY ($1) AND key = ANY ($2)
UNION ALL
SELECT consumer, message_id, applied_at, NULL
FROM messaging.inbox
WHERE consumer = ANY ($3) AND message_id = ANY ($5)
ORDER BY applied_at
