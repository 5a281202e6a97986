select ticket_type_id, capacity::bigint, available::bigint, locked::bigint, sold::bigint
from read_models.stock
where available + locked + sold <> capacity or least(available, locked, sold, capacity) < 0
order by ticket_type_id
limit 100
