SELECT *
FROM messaging.dead_letter
WHERE id = $1 AND state IN ('dead', 'behind')
FOR UPDATE
