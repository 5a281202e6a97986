update relay.cursor c
set position = s.position, n = s.n
from unnest($1::smallint[], $2::bigint[], $3::smallint[]) as s(lane, position, n)
where c.lane = s.lane and c.token = $4
