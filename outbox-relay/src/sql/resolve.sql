update relay.parked p
set state = r.state,
    reason = coalesce(r.reason, p.reason),
    resolved_at = case when r.state in ('sent', 'skipped') then clock_timestamp() end
from unnest($2::bigint[], $3::smallint[], $4::text[], $5::text[]) as r(position, n, state, reason)
where p.lane = $1 and p.position = r.position and p.n = r.n
