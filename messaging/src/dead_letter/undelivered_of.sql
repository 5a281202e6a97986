SELECT *
FROM messaging.dead_letter
WHERE consumer = ANY ($1) AND waiting_key = ANY ($2) AND state IN ('dead', 'behind')
ORDER BY id
LIMIT $3
