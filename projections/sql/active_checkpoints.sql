select m.name, c.position
from projection.read_model m
join projection.checkpoint c on c.name = m.name and c.version = m.active_version
