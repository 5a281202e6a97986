select effect, class, sum(orders)::bigint as orders
from operations.critical_time
where measured_at > clock_timestamp() - make_interval(secs => $1)
group by effect, class
order by effect, class
