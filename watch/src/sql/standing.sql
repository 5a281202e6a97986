-- What the last `verify` that could judge all of an invariant found of it, and what later ones found that could not; and a break
-- of the hash chain that the watch found after that.
with judged as (
    select invariant, max(verification_id) as verification_id
    from operations.verification
    cross join unnest(invariants) as invariant
    where made_by = 'verify'
    group by invariant
)
select distinct v.made_by, found ->> 'invariant', found ->> 'message'
from operations.verification v
cross join jsonb_array_elements(v.violations) as found
left join judged on judged.invariant = found ->> 'invariant'
where v.made_by = 'verify' and v.verification_id >= coalesce(judged.verification_id, 0)
    or v.verification_id > coalesce(judged.verification_id, 0) and found ->> 'invariant' = 'I5'
        and v.verification_id = (select max(verification_id) from operations.verification where made_by = 'watch')
