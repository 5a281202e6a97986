-- Sorted, so that two transactions that lock some of the same keys can't wait for each other in a circle.
SELECT count(pg_advisory_xact_lock(lock))
FROM (
    SELECT DISTINCT hashtextextended($1 || '/' || waiting_key, 20) AS lock
    FROM unnest($2::text[]) AS waiting_key
    ORDER BY lock
) AS sorted
