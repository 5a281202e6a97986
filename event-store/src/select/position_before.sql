-- Positions are in the order of time and have no gaps, so a binary search finds the last one recorded before a time in some
-- thirty look-ups, without an index on time.
with recursive search(low, high) as (
    select 0::bigint, last_position + 1
    from (select last_position from store.ledger_batch order by last_position desc limit 1) head
    union all
    select case when e.recorded_at < $1 then e.position else s.low end,
        case when e.recorded_at < $1 then s.high else e.position end
    from search s
    join store.events e on e.position = (s.low + s.high) / 2
    where s.high - s.low > 1
)
select max(low) from search
