SELECT count(*) FILTER (WHERE state = 'dead') AS dead, count(*) FILTER (WHERE state = 'behind') AS behind
FROM messaging.dead_letter
WHERE state IN ('dead', 'behind')
