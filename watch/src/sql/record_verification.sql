with old as (
    delete from operations.verification where checked_at < clock_timestamp() - make_interval(days => $5)
)
insert into operations.verification (made_by, invariants, position, violations)
values ($1, $2, $3, $4)
