SELECT consumer, waiting_key, coalesce(reason, '') AS reason
FROM messaging.redrive_key
WHERE redrive_id = $1 AND state = 'stopped'
ORDER BY first_letter_id
LIMIT $2
