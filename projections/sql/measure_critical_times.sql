-- Each order's event among those that became visible, against the event that placed the order: both times are the
-- database's, and how long ago the commit was is counted back. offset 0: index look-ups, whatever the planner thinks.
with measured as (
    select case e.type when 'OrderPlaced' then 'order_visible' else 'order_confirmed' end as effect,
        extract(epoch from statement_timestamp() - placed.recorded_at)::float8 - committed.seconds_ago as seconds
    from unnest($1::bigint[], $2::bigint[], $3::float8[]) as committed (after_position, upto, seconds_ago)
    cross join lateral (
        select type, stream_id
        from store.events
        where position > committed.after_position and position <= committed.upto
            and type in ('OrderPlaced', 'OrderConfirmed')
        offset 0
    ) e
    cross join lateral (
        select recorded_at from store.events first where first.stream_id = e.stream_id and first.version = 1 offset 0
    ) placed
), classed as (
    select effect, greatest(0, ceil(ln(greatest(1, seconds * 1000)::float8) / ln($4::float8)))::smallint as class,
        count(*) as orders
    from measured
    group by 1, 2
)
insert into operations.critical_time (effect, class, orders)
select effect, class, orders from classed
returning effect, class, orders
