insert into store.lease as held (name, holder, token, expires_at)
values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
on conflict (name) do update
set holder = excluded.holder, token = held.token + 1, expires_at = excluded.expires_at
where held.expires_at <= clock_timestamp()
returning token
