insert into {table} as t (
    ticket_type_id, show_id, name, price, capacity, available, locked, sold, version, position
)
select * from unnest(
    $1::bigint[], $2::bigint[], $3::text[], $4::numeric[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[]
)
on conflict (ticket_type_id) do update set
    show_id = excluded.show_id,
    name = excluded.name,
    price = excluded.price,
    capacity = excluded.capacity,
    available = excluded.available,
    locked = excluded.locked,
    sold = excluded.sold,
    version = excluded.version,
    position = excluded.position
