insert into {table} as t (
    order_id, user_id, show_id, ticket_type_id, quantity, total_amount, status, reason, order_time, expire_time,
    lock_id, payment_id, mode, placed_position, version, position
)
select * from unnest(
    $1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::numeric[], $7::text[], $8::text[],
    $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[],
    $16::bigint[]
)
on conflict (order_id) do update set
    user_id = excluded.user_id,
    show_id = excluded.show_id,
    ticket_type_id = excluded.ticket_type_id,
    quantity = excluded.quantity,
    total_amount = excluded.total_amount,
    status = excluded.status,
    reason = excluded.reason,
    order_time = excluded.order_time,
    expire_time = excluded.expire_time,
    lock_id = excluded.lock_id,
    payment_id = excluded.payment_id,
    mode = excluded.mode,
    placed_position = excluded.placed_position,
    version = excluded.version,
    position = excluded.position
