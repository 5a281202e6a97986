SELECT DISTINCT waiting_key
FROM messaging.dead_letter
WHERE consumer = $1 AND waiting_key = ANY ($2) AND state IN ('dead', 'behind')
