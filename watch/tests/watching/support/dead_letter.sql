insert into messaging.dead_letter
    (consumer, topic, broker, queue, queue_offset, message_id, identity, body, properties, state, reason, attempts,
     resolved_at, resolved_by)
values ($1, $2, 'memory', 0, 0, $3, $3::uuid::text, '', '{}', $4, 'refused', 1,
    case when $4 in ('redriven', 'discarded') then clock_timestamp() end,
    case when $4 in ('redriven', 'discarded') then 'user:1' end)
