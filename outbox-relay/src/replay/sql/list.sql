select r.replay_id, r.topic, r.to_topic, r.for_consumer, r.stream_id, r.message_key, r.after_position, r.upto_position,
    r.messages_per_second, r.messages, r.state, r.problem, r.requested_by, r.started_at, r.ended_at,
    (select coalesce(sum(l.sent_messages), 0)::bigint from relay.replay_lane l where l.replay_id = r.replay_id)
        as sent_messages,
    exists (
        select from store.lease s
        where s.name = 'replay ' || r.topic || ' ' || r.to_topic || ' ' || coalesce(r.for_consumer, '')
            and s.token = r.token and s.expires_at > clock_timestamp()
    ) as is_live
from relay.replay r
where $1::bigint is null or r.replay_id = $1
order by r.replay_id desc
limit $2
