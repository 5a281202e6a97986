-- Where a replay ends in each lane: at the range's end, or at the last message that the relay has sent.
select c.lane,
    case when c.position > $2 then $2 else c.position end as end_position,
    case when c.position > $2 then 32767::smallint else c.n end as end_n
from relay.cursor c
where c.lane = any($1)
order by c.lane
