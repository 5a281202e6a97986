select checked_at, made_by, invariants, position, jsonb_array_length(violations)::bigint as violations
from operations.verification
order by verification_id desc
limit 1
