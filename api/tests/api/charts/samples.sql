-- One every ten seconds for half an hour.
INSERT INTO operations.sample
    (sampled_at, head, events_per_second, orders_per_second, sent_per_second, outbox_pending, outbox_age_seconds, parked,
     consumer_lag_messages, consumer_lag_seconds, group_lag_messages, projection_lag_events, projection_lag_seconds,
     dead_letters, critical_time_p50_ms, critical_time_p99_ms, missing_messages)
SELECT clock_timestamp() - n * interval '10 seconds', 1000 - n, 40 + n % 7, 9, 80, n % 5, 0.2, 0, n % 3, 0.1, '{}', 0, 0, 0, 40,
    180, 0
FROM generate_series(0, 179) AS n
