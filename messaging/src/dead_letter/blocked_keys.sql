SELECT DISTINCT ordering_key
FROM messaging.dead_letter
WHERE consumer = $1 AND ordering_key = ANY ($2) AND state IN ('dead', 'behind')
