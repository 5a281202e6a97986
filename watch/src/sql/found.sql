select consumer, topic, message_id, position
from operations.missing_message
where confirmed_at is not null
order by position, consumer
limit $1
