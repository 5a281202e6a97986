DELETE FROM processing.payment_result
WHERE webhook_id IN (
    SELECT webhook_id
    FROM processing.payment_result
    WHERE last_attempt_at < clock_timestamp() - make_interval(secs => $1)
      AND state <> 'trying'
    ORDER BY last_attempt_at
    LIMIT $2
)
