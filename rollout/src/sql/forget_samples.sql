DELETE FROM operations.rollout_sample
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM operations.rollout_sample WHERE sampled_at < clock_timestamp() - make_interval(secs => $1) LIMIT $2
))
