-- Rates are since the sample before, if that is not too long ago. Types of events in a range of positions are counted where
-- the range is not too long either.
with old as (
    delete from operations.sample where sampled_at < clock_timestamp() - make_interval(secs => $17)
), before as (
    select head, extract(epoch from clock_timestamp() - sampled_at)::float8 as seconds
    from operations.sample
    where sampled_at > clock_timestamp() - make_interval(secs => $15) and sampled_at < clock_timestamp()
    order by sampled_at desc
    limit 1
)
insert into operations.sample
    (head, events_per_second, orders_per_second, sent_per_second, outbox_pending, outbox_age_seconds, parked,
     consumer_lag_messages, consumer_lag_seconds, group_lag_messages, projection_lag_events, projection_lag_seconds,
     dead_letters, critical_time_p50_ms, critical_time_p99_ms, missing_messages)
select $1,
    (select greatest(0, $1 - head) / seconds from before),
    (
        select case when $1 - before.head <= $16 then (
            select count(*)
            from store.events
            where position > before.head and position <= $1 and type = 'OrderPlaced'
        ) / before.seconds end
        from before
    ),
    $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
