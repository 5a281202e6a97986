-- Positions have no gaps, so the oldest event not applied yet is the one after the checkpoint.
select m.name,
       m.active_version,
       m.code_version,
       previous.version as previous_version,
       c.position,
       head.position as head,
       case
           when c.position >= head.position then 0
           else (
               select greatest(extract(epoch from clock_timestamp() - e.recorded_at)::float8, 0.001)
               from store.events e
               where e.position = c.position + 1
           )
       end as lag_seconds
from projection.read_model m
join projection.checkpoint c on c.name = m.name and c.version = m.active_version
left join projection.checkpoint previous
    on previous.name = m.name and previous.version = m.previous_version and previous.live
cross join (select coalesce(max(position), 0) as position from store.events) head
order by m.name
