select d.kind, d.key, d.due_at, d.due_at <= clock_timestamp() as is_due
from unnest($1::text[], $2::text[]) as wanted(kind, key)
join store.deadline d on d.kind = wanted.kind and d.key = wanted.key
order by d.due_at
