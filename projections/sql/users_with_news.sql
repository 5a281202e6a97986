-- One look at the index for each user who waits, however many notifications the others got.
select waiting.user_id
from unnest($1::bigint[]) as waiting (user_id)
where exists (
    select from read_models.notifications n
    where n.user_id = waiting.user_id and n.requested_position > $2 and n.requested_position <= $3
)
