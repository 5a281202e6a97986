insert into {table} as t (
    order_id, ticket_type_id, status, step, step_since, handed_over, state, begun_at, begun_position, version, position
)
select order_id, ticket_type_id, status, step, step_since, handed_over, state::jsonb, begun_at, begun_position, version,
       position
from unnest(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::boolean[], $7::text[], $8::timestamptz[],
    $9::bigint[], $10::bigint[], $11::bigint[]
) as row(
    order_id, ticket_type_id, status, step, step_since, handed_over, state, begun_at, begun_position, version, position
)
on conflict (order_id) do update set
    ticket_type_id = excluded.ticket_type_id,
    status = excluded.status,
    step = excluded.step,
    step_since = excluded.step_since,
    handed_over = excluded.handed_over,
    state = excluded.state,
    begun_at = excluded.begun_at,
    begun_position = excluded.begun_position,
    version = excluded.version,
    position = excluded.position
