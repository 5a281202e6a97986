INSERT INTO store.command_key (scope, key, created_at)
SELECT 'inbox:' || $1, message_id::text, clock_timestamp()
FROM store.outbox
WHERE topic = $2
ORDER BY position DESC
LIMIT 1
