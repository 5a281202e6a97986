SELECT *
FROM messaging.dead_letter
WHERE ($1::text IS NULL OR consumer = $1)
  AND ($2 OR state IN ('dead', 'behind'))
  AND id > $3
ORDER BY id
LIMIT $4
