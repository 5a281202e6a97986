-- The last word of `verify` holds until its next one, however old it is.
with old as (
    delete from operations.verification
    where checked_at < clock_timestamp() - make_interval(days => $5)
        and verification_id <> (
            select coalesce(max(verification_id), 0) from operations.verification where made_by = 'verify'
        )
)
insert into operations.verification (made_by, invariants, position, violations)
values ($1, $2, $3, $4)
