SELECT *
FROM messaging.dead_letter
WHERE ($1::text IS NULL OR consumer = $1)
  AND ($2::text IS NULL OR topic = $2)
  AND ($3::text IS NULL OR cause = $3)
  AND ($4::text IS NULL OR waiting_key = $4)
  AND ($5::text IS NULL OR state = $5)
  AND ($6 OR $5 IS NOT NULL OR state IN ('dead', 'behind'))
  AND id > $7
ORDER BY id
LIMIT $8
