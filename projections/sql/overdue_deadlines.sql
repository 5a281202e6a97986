select kind,
       count(*),
       (array_agg(key order by due_at))[1] as oldest,
       extract(epoch from clock_timestamp() - min(due_at))::float8 as overdue_seconds
from store.deadline
where due_at < clock_timestamp() - make_interval(secs => $1)
group by kind
order by kind
