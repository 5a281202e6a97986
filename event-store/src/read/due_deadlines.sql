select key, due_at
from store.deadline
where kind = $1 and due_at <= clock_timestamp()
order by due_at
limit $2
