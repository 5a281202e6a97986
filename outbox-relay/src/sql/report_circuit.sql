insert into relay.circuit (dependency, state, changed_at, reported_by)
values ('broker', $1, clock_timestamp(), $2)
on conflict (dependency) do update
set state = excluded.state, changed_at = excluded.changed_at, reported_by = excluded.reported_by
