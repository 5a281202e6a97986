-- Bisection: `low` was recorded at or before the time, or is the beginning; `high` after it, or is beyond the head.
with recursive head (position) as (
    select last_position from store.ledger_batch order by last_position desc limit 1
),
search (low, high) as (
    select 0::bigint, head.position + 1 from head
    union all
    select case when e.recorded_at <= $1 then middle.position else middle.low end,
           case when e.recorded_at <= $1 then middle.high else middle.position end
    from (select low, high, (low + high) / 2 as position from search where high - low > 1) middle
    join store.events e using (position)
)
select low from search where high - low <= 1
