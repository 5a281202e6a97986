insert into operations.missing_checked as known (consumer, topic, position, checked_at)
values ($1, $2, $3, clock_timestamp())
on conflict (consumer, topic) do update
set position = greatest(known.position, excluded.position), checked_at = excluded.checked_at
