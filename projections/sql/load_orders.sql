select order_id, user_id, show_id, ticket_type_id, quantity, total_amount, status, reason, order_time, expire_time,
       lock_id, payment_id, mode, placed_position, version, position
from {table}
where order_id = any($1)
