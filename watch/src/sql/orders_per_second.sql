select orders_per_second
from operations.sample
where sampled_at > clock_timestamp() - make_interval(secs => $1)
order by sampled_at desc
limit 1
