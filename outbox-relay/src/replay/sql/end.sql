update relay.replay
set state = $3, problem = $4, ended_at = clock_timestamp()
where replay_id = $1 and token = $2
