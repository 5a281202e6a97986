update relay.replay_lane l
set position = s.position, n = s.n, sent_messages = l.sent_messages + s.sent
from unnest($3::smallint[], $4::bigint[], $5::smallint[], $6::bigint[]) as s(lane, position, n, sent), relay.replay r
where l.replay_id = $1 and l.lane = s.lane and r.replay_id = $1 and r.token = $2 and r.state = 'running'
