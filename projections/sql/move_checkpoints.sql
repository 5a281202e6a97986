-- Conditional twice: on where the projector started from, and on nobody with a newer lease having written since.
update projection.checkpoint
set position = $3,
    lease_token = $4,
    event_recorded_at = coalesce((select recorded_at from store.events where events.position = $3), event_recorded_at),
    updated_at = clock_timestamp()
where name = $1 and live and position = $2 and lease_token <= $4
