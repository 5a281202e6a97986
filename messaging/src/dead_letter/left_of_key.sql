SELECT id AS next_id, state AS next_state, count(*) OVER () AS messages
FROM messaging.dead_letter
WHERE consumer = $1 AND waiting_key = $2 AND state IN ('dead', 'behind')
ORDER BY id
LIMIT 1
