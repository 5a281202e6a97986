delete from operations.missing_message
where consumer = $1 and message_id in (
    select m.message_id
    from operations.missing_message m
    left join store.outbox o using (lane, position, n)
    where m.consumer = $1 and m.confirmed_at is not null and o.message_id is null
    order by m.position, m.n
    limit $2
)
returning message_id
