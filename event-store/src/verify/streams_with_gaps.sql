select stream_id, count(*), min(version), max(version)
from store.events
where position <= $1
group by stream_id
having min(version) <> 1 or max(version) <> count(*)
order by stream_id
limit $2
