insert into relay.replay
    (topic, to_topic, for_consumer, stream_id, message_key, after_position, upto_position, messages_per_second, messages,
     requested_by, token)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
returning replay_id
