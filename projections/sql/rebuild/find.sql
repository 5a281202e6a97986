-- The last rebuild of each of these read models. A rate nobody has confirmed for a while is not known.
select distinct on (name)
    id, name, version, code_version, state, dry_run, position, target, lease_token, requested_by, started_at, ended_at,
    differences, examples, problem,
    case when state = 'running' and updated_at > clock_timestamp() - interval '10 seconds' then events_per_second end
        as events_per_second
from projection.rebuild
where name = any($1)
order by name, id desc
