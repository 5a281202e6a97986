-- The last word of `verify` on each invariant holds until its next one, however old it is.
with judged as (
    select max(verification_id) as verification_id
    from operations.verification
    cross join unnest(invariants) as invariant
    where made_by = 'verify'
    group by invariant
), old as (
    delete from operations.verification
    where checked_at < clock_timestamp() - make_interval(days => $5)
        and (made_by <> 'verify' or verification_id < (select min(verification_id) from judged))
)
insert into operations.verification (made_by, invariants, position, violations)
values ($1, $2, $3, $4)
