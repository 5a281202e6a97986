-- One snapshot: what the checkpoint says is applied must be in the rows, to the last version of each stream.
with checkpoint as (
    select c.position
    from projection.read_model m
    join projection.checkpoint c on c.name = m.name and c.version = m.active_version
    where m.name = $1
),
streams as (
    select stream_id, max(events.version) as version, count(*) as events
    from store.events, checkpoint
    where events.position <= checkpoint.position and starts_with(stream_id, $2)
    group by stream_id
)
select s.stream_id, s.version, s.events, r.version as applied
from streams s
left join {table} r on r.{key}::text = substr(s.stream_id, length($2) + 1)
where r.version is distinct from s.version or s.events <> s.version
order by s.stream_id
limit $3
