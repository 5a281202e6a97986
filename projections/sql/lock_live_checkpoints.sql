select version, position
from projection.checkpoint
where name = $1 and live
order by version
for update
