SELECT count(*)
FROM messaging.dead_letter
WHERE consumer = $1 AND state IN ('dead', 'behind')
