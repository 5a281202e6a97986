-- A start that found nothing to go on with says null.
select (detail ->> 'resumedAt')::bigint
from operations.action
where action = 'projection.rebuild' and subject = $1
order by action_id
