select c.position, c.checked_at
from unnest($1::text[], $2::text[]) as wanted (consumer, topic)
join operations.missing_checked c on c.consumer = wanted.consumer and c.topic = wanted.topic
