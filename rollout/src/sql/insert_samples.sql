INSERT INTO operations.rollout_sample (mode, cause, order_id, accept_us, weight)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::real[])
