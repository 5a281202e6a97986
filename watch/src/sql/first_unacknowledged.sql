select position
from store.outbox
where lane = $1 and (position, n) <= ($2, $3)
order by position desc, n desc
offset $4 - 1
limit 1
