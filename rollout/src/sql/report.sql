WITH newest AS (
    SELECT mode, cause, order_id, accept_us, weight
    FROM operations.rollout_sample
    WHERE sampled_at >= $1
    ORDER BY sampled_at DESC
    LIMIT $2
)
SELECT s.mode, s.cause, s.order_id IS NULL AS is_failed, s.accept_us, s.weight,
    d.type = 'OrderRejected' AS is_rejected,
    (extract(epoch FROM d.recorded_at - p.recorded_at) * 1000000)::bigint AS decided_after_us
FROM newest s
LEFT JOIN store.events p ON p.stream_id = 'order-' || s.order_id AND p.version = 1
-- An order's second event is its decision, unless its user or its time was faster.
LEFT JOIN store.events d
    ON d.stream_id = 'order-' || s.order_id AND d.version = 2 AND d.type IN ('OrderStockHeld', 'OrderRejected')
