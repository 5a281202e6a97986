-- So many seconds ago, with so many orders a second.
insert into operations.sample
    (sampled_at, head, orders_per_second, outbox_pending, outbox_age_seconds, parked, group_lag_messages, dead_letters)
values (clock_timestamp() - make_interval(secs => $1), 0, $2, 0, 0, 0, '{}', 0)
