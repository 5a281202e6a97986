insert into {table} as t (
    notification_id, user_id, order_id, template, title, body, status, channels, requested_at, requested_position,
    version, position
)
select notification_id, user_id, order_id, template, title, body, status, channels::jsonb, requested_at,
       requested_position, version, position
from unnest(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::timestamptz[], $10::bigint[], $11::bigint[], $12::bigint[]
) as u (
    notification_id, user_id, order_id, template, title, body, status, channels, requested_at, requested_position,
    version, position
)
on conflict (notification_id) do update set
    user_id = excluded.user_id,
    order_id = excluded.order_id,
    template = excluded.template,
    title = excluded.title,
    body = excluded.body,
    status = excluded.status,
    channels = excluded.channels,
    requested_at = excluded.requested_at,
    requested_position = excluded.requested_position,
    version = excluded.version,
    position = excluded.position
