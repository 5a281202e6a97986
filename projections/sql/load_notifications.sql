select notification_id, user_id, order_id, template, title, body, status, channels::text as channels, requested_at,
       requested_position, version, position
from {table}
where notification_id = any($1)
