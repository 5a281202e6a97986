-- As in stream.sql: some twenty look-ups, however long the stream is.
with recursive search(low, high) as (
    select 0::bigint,
        coalesce((select version from store.events where stream_id = $1 order by version desc limit 1), 0) + 1
    union all
    select case when e.position <= $2 then e.version else s.low end,
        case when e.position <= $2 then s.high else e.version end
    from search s
    join store.events e on e.stream_id = $1 and e.version = (s.low + s.high) / 2
    where s.high - s.low > 1
)
select max(low) from search
