select first_position, last_position, hash
from store.ledger_batch
where last_position > $1 and last_position <= $2
order by last_position
limit $3
