select notification_id, user_id, order_id, template, title, body, status, channels::text as channels, requested_at,
       requested_position, version, position
from read_models.notifications
where user_id = $1 and requested_position > $2
order by requested_position
limit $3
