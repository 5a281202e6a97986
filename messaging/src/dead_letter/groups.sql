-- Who waits counts to the first dead letter of its key, or to the key's next message where nothing dead is left.
WITH undelivered AS (
    SELECT *, CASE WHEN waiting_key IS NULL THEN id END AS alone
    FROM messaging.dead_letter
    WHERE state IN ('dead', 'behind')
      AND ($1::text IS NULL OR consumer = $1)
      AND ($2::text IS NULL OR waiting_key = $2)
), counted AS (
    SELECT id, consumer, waiting_key, alone, state, created_at,
           CASE WHEN state = 'dead' THEN topic ELSE first_value(topic) OVER of_key END AS topic,
           CASE WHEN state = 'dead' THEN cause ELSE first_value(cause) OVER of_key END AS cause
    FROM undelivered
    WINDOW of_key AS (PARTITION BY consumer, waiting_key, alone ORDER BY state = 'behind', id)
), grouped AS (
    SELECT cause, consumer, topic,
           count(*) FILTER (WHERE state = 'dead') AS dead,
           count(*) FILTER (WHERE state = 'behind') AS behind,
           count(DISTINCT (waiting_key, alone)) AS keys,
           min(created_at) AS oldest_at,
           max(created_at) AS newest_at,
           coalesce(min(id) FILTER (WHERE state = 'dead'), min(id)) AS sample_id
    FROM counted
    WHERE ($3::text IS NULL OR topic = $3)
      AND ($4::text IS NULL OR cause = $4)
    GROUP BY consumer, topic, cause
    ORDER BY count(*) DESC, consumer, topic, cause
    LIMIT $5
)
SELECT grouped.cause, grouped.consumer, grouped.topic, sample.reason, grouped.dead, grouped.behind, grouped.keys,
       grouped.oldest_at, grouped.newest_at, grouped.sample_id
FROM grouped
JOIN messaging.dead_letter AS sample ON sample.id = grouped.sample_id
ORDER BY grouped.dead + grouped.behind DESC, grouped.consumer, grouped.topic, grouped.cause
