-- What the last `verify` found; and a break of the hash chain that the watch found after it.
with last as (
    select max(verification_id) filter (where made_by = 'verify') as verify,
        max(verification_id) filter (where made_by = 'watch') as watch
    from operations.verification
)
select v.made_by, found ->> 'invariant', found ->> 'message'
from last
join operations.verification v
    on v.verification_id = last.verify
    or v.verification_id = last.watch and last.watch > coalesce(last.verify, 0)
cross join jsonb_array_elements(v.violations) as found
where v.made_by = 'verify' or found ->> 'invariant' = 'I5'
