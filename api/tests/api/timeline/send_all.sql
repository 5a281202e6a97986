INSERT INTO relay.cursor (lane, position, n, token)
SELECT DISTINCT ON (lane) lane, position, n, 1
FROM store.outbox
ORDER BY lane, position DESC, n DESC
ON CONFLICT (lane) DO UPDATE SET position = excluded.position, n = excluded.n
