with chunk as (
    select max(position) as last from (
        select o.position
        from store.outbox o
        join relay.cursor c on c.lane = o.lane
        where o.lane = $1 and o.position > $2 and o.position <= $3 and o.position < c.position
        order by o.position
        limit $4
    ) o
), deleted as (
    delete from store.outbox o using chunk
    where o.lane = $1 and o.position > $2 and o.position <= chunk.last
    and not exists (
        select from relay.parked p
        where p.lane = o.lane and p.position = o.position and p.n = o.n and p.resolved_at is null
    )
    returning 1
)
select chunk.last, (select count(*) from deleted) from chunk
