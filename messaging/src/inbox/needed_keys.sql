SELECT command_key.scope, command_key.key
FROM messaging.dead_letter AS letter
JOIN store.command_key ON (command_key.scope, command_key.key) = ($1 || letter.consumer, letter.message_id::text)
WHERE letter.state IN ('dead', 'behind')
