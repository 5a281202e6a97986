-- A deadline that was moved or taken away meanwhile stays as it is now.
update store.deadline
set due_at = clock_timestamp() + $4::bigint * interval '1 millisecond'
where kind = $1 and key = $2 and due_at = $3
