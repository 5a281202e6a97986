-- For each stream everything newer than the version the caller has; first its snapshot, for a caller that has nothing.
select s.ordinal, r.version, r.position, r.type, r.schema_version, r.body
from unnest($1::text[], $2::bigint[], $3::text[]) with ordinality as s(stream_id, version, snapshot_schema, ordinal)
left join store.snapshot n on n.stream_id = s.stream_id and n.schema = s.snapshot_schema and s.version = 0
cross join lateral (
    select n.version, n.position, null as type, null as schema_version, n.state as body
    where n.version is not null
    union all
    select e.version, e.position, e.type, e.schema_version, e.payload::text
    from store.events e
    where e.stream_id = s.stream_id and e.version > coalesce(n.version, s.version)
) r
order by s.ordinal, r.version, r.type nulls first
