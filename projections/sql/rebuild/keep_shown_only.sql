update projection.checkpoint c
set live = false
from projection.read_model m
where c.name = $1 and c.live and m.name = c.name and m.active_version <> c.version
