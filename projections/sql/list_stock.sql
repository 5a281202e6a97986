select *
from read_models.stock
where ticket_type_id > $1 and ($2::bigint is null or show_id = $2)
order by ticket_type_id
limit $3
