-- The running ones that have not moved for long are few, and found by an index of their own (sagas_v1_running).
select s.order_id, s.ticket_type_id, s.status, s.step, s.step_since, s.handed_over, s.state::text as state, s.begun_at,
       s.begun_position, s.version, s.position
from read_models.sagas s
where s.status = 'running'
  and (
    s.handed_over
    or s.step_since < clock_timestamp() - make_interval(secs => $1)
    -- Waiting for the user's money is no hanging, as long as the deadline that ends it stands and is acted on in time. That
    -- of a sync order names its ticket type as well.
    and not (
        s.step in ('AWAITING_PAYMENT', 'LOCK_LAPSED')
        and exists (
            select from store.deadline d
            where d.kind = 'order_expiry' and d.key in (s.order_id, s.order_id || '/' || s.ticket_type_id)
              and d.due_at > clock_timestamp() - make_interval(secs => $1)
        )
    )
  )
  and s.begun_position < $2
order by s.begun_position desc
limit $3
