insert into relay.circuit as known (dependency, state, changed_at, reported_by, reported_at)
values ('broker', $1, clock_timestamp(), $2, clock_timestamp())
on conflict (dependency) do update
set changed_at = case when known.state = excluded.state then known.changed_at else excluded.changed_at end,
    state = excluded.state, reported_by = excluded.reported_by, reported_at = excluded.reported_at
