delete from store.command_key
where ctid = any (array(
    select ctid
    from store.command_key
    where created_at < clock_timestamp() - make_interval(secs => $2) and starts_with(scope, $1)
      and (scope, key) not in (select * from unnest($4::text[], $5::text[]))
    limit $3
))
