update store.lease
set expires_at = clock_timestamp() + make_interval(secs => $3)
where name = $1 and token = $2 and expires_at > clock_timestamp()
