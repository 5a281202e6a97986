-- A version that is no longer kept up to date is no way back.
select m.active_version,
       (select c.version from projection.checkpoint c
        where c.name = m.name and c.version = m.previous_version and c.live)
from projection.read_model m
where m.name = $1
for update of m
