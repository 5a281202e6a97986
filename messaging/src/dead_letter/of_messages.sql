SELECT *
FROM messaging.dead_letter
WHERE consumer = ANY ($1) AND identity = ANY ($2)
ORDER BY id
LIMIT $3
