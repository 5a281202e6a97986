select lane, ordering_key, business_id, event_type, message_id, body
from store.outbox
where position > $1 and topic = $2
order by position, n
