SELECT consumer_group, topic, bool_or(is_connected) AS is_up, sum(applied_per_second) AS applied_per_second
FROM messaging.member
WHERE seen_at > clock_timestamp() - make_interval(secs => $1)
GROUP BY consumer_group, topic
