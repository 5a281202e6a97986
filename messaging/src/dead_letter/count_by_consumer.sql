SELECT consumer, count(*)
FROM messaging.dead_letter
WHERE state IN ('dead', 'behind')
GROUP BY consumer
