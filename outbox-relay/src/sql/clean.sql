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
    returning o.position
), counted as (
    insert into relay.taken_away as known (lane, stretch, first_position, last_position, messages)
    select $1, position / 100000, min(position), max(position), count(*) from deleted group by position / 100000
    on conflict (lane, stretch) do update
    set first_position = least(known.first_position, excluded.first_position),
        last_position = greatest(known.last_position, excluded.last_position),
        messages = known.messages + excluded.messages
)
select chunk.last, (select count(*) from deleted) from chunk
