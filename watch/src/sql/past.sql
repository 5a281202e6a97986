-- Slices of equal length that have samples: of lags the worst, of rates the mean. What was unknown in one sample and known
-- in another of the same slice is what was known.
select * from (
    select max(sampled_at) as sampled_at,
        max(head) as head,
        avg(events_per_second) as events_per_second,
        avg(orders_per_second) as orders_per_second,
        avg(sent_per_second) as sent_per_second,
        max(outbox_pending) as outbox_pending,
        max(outbox_age_seconds) as outbox_age_seconds,
        max(parked) as parked,
        max(consumer_lag_messages) as consumer_lag_messages,
        max(consumer_lag_seconds) as consumer_lag_seconds,
        (array_agg(group_lag_messages order by sampled_at desc))[1] as group_lag_messages,
        max(projection_lag_events) as projection_lag_events,
        max(projection_lag_seconds) as projection_lag_seconds,
        max(dead_letters) as dead_letters,
        max(critical_time_p50_ms) as critical_time_p50_ms,
        max(critical_time_p99_ms) as critical_time_p99_ms,
        max(missing_messages) as missing_messages
    from operations.sample
    where sampled_at > clock_timestamp() - make_interval(secs => $1)
    group by floor(extract(epoch from sampled_at) / $2)
    order by 1 desc
    limit $3
) newest
order by sampled_at
