insert into relay.cursor as mine (lane, position, n, token)
select lane, 0, 0, $2 from generate_series(0, $1 - 1) as lane
on conflict (lane) do update set token = excluded.token where mine.token <= excluded.token
returning lane, position, n
