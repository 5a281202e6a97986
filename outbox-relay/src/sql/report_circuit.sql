insert into relay.circuit as known
    (dependency, state, changed_at, reported_by, reported_at, sent_per_second, in_flight_messages)
values ('broker', $1, clock_timestamp(), $2, clock_timestamp(), $3, $4)
on conflict (dependency) do update
set changed_at = case when known.state = excluded.state then known.changed_at else excluded.changed_at end,
    state = excluded.state, reported_by = excluded.reported_by, reported_at = excluded.reported_at,
    sent_per_second = excluded.sent_per_second, in_flight_messages = excluded.in_flight_messages
