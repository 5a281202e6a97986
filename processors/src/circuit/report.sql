INSERT INTO processing.circuit (dependency, state, open_until)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (dependency) DO UPDATE
SET state = excluded.state, open_until = excluded.open_until, changed_at = clock_timestamp()
