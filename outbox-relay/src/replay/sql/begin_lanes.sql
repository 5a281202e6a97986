insert into relay.replay_lane (replay_id, lane, position, n, end_position, end_n)
select $1, lane, $2, 32767, end_position, end_n
from unnest($3::smallint[], $4::bigint[], $5::smallint[]) as ends(lane, end_position, end_n)
where end_position > $2
