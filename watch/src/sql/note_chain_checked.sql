insert into operations.chain_checked as known (position, checked_at)
values ($1, clock_timestamp())
on conflict (only_row) do update set position = excluded.position, checked_at = excluded.checked_at
