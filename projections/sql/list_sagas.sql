select order_id, ticket_type_id, status, step, step_since, handed_over, state::text as state, begun_at, begun_position,
       version, position
from read_models.sagas
where begun_position < $1 and ($2::text is null or status = $2)
order by begun_position desc
limit $3
