-- A key is what its first undelivered message says. Its messages count up to the first that is dead of another cause.
WITH undelivered AS (
    SELECT id, consumer, waiting_key, topic, cause, state,
           first_value(id) OVER of_key AS first_id,
           first_value(topic) OVER of_key AS first_topic,
           first_value(cause) OVER of_key AS first_cause
    FROM messaging.dead_letter
    WHERE state IN ('dead', 'behind')
      AND ($2::text IS NULL OR consumer = $2)
      AND ($5::text IS NULL OR waiting_key = $5)
    WINDOW of_key AS (PARTITION BY consumer, waiting_key, CASE WHEN waiting_key IS NULL THEN id END ORDER BY id)
), wanted AS (
    SELECT *, min(id) FILTER (WHERE state = 'dead' AND cause <> $4) OVER (PARTITION BY first_id) AS stops_at
    FROM undelivered
    WHERE ($3::text IS NULL OR first_topic = $3)
      AND ($4::text IS NULL OR first_cause = $4)
      AND ($6::bigint[] IS NULL OR first_id IN (SELECT first_id FROM undelivered WHERE id = ANY ($6)))
)
INSERT INTO messaging.redrive_key (redrive_id, first_letter_id, consumer, waiting_key, topic, cause, messages)
SELECT $1, first_id, consumer, waiting_key, first_topic, first_cause, count(*)
FROM wanted
WHERE stops_at IS NULL OR id < stops_at
GROUP BY first_id, consumer, waiting_key, first_topic, first_cause
