select order_id, ticket_type_id, status, step, step_since, handed_over, state::text as state, begun_at, begun_position,
       version, position
from {table}
where order_id = any($1)
