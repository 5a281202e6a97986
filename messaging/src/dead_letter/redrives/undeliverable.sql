-- The first of the ids that is no undelivered letter's.
SELECT named.id, letter.state
FROM unnest($1::bigint[]) AS named (id)
LEFT JOIN messaging.dead_letter AS letter USING (id)
WHERE letter.state IS NULL OR letter.state NOT IN ('dead', 'behind')
ORDER BY named.id
LIMIT 1
