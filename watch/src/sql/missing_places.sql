select lane, position, n
from operations.missing_message
where consumer = $1 and confirmed_at is not null
order by position, n
limit $2
