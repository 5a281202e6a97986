-- Those that answer now. One that was silent for too long is taken to be gone for good.
with gone as (
    delete from relay.broker
    where seen_at < clock_timestamp() - make_interval(secs => $2) and name <> all($1)
)
insert into relay.broker as known (name, seen_at)
select name, clock_timestamp() from unnest($1::text[]) as name
on conflict (name) do update
set seen_at = excluded.seen_at
where known.seen_at < clock_timestamp() - interval '1 minute'
