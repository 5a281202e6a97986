-- Only those that nobody else holds: a redrive keeps its key for as long as the handler takes.
SELECT waiting_key
FROM (SELECT DISTINCT waiting_key FROM unnest($2::text[]) AS waiting_key) AS wanted
WHERE pg_try_advisory_xact_lock(hashtextextended($1 || '/' || waiting_key, 20))
