SELECT cause, consumer, topic, sum(messages)::bigint AS messages, count(*) AS keys
FROM messaging.redrive_key
WHERE redrive_id = $1
GROUP BY cause, consumer, topic
ORDER BY sum(messages) DESC, consumer, topic, cause
