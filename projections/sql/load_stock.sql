select ticket_type_id, show_id, name, price, capacity, available, locked, sold, version, position
from {table}
where ticket_type_id = any($1)
