update relay.replay
set token = $2, messages_per_second = coalesce($3, messages_per_second)
where replay_id = $1 and token <= $2 and state = 'running'
