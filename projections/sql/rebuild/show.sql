update projection.read_model m
set active_version = $2,
    previous_version = $3,
    code_version = c.code_version,
    activated_at = clock_timestamp()
from projection.checkpoint c
where m.name = $1 and c.name = m.name and c.version = $2
