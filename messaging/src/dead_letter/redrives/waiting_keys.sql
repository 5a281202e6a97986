SELECT first_letter_id, consumer, waiting_key
FROM messaging.redrive_key
WHERE redrive_id = $1 AND state = 'waiting'
ORDER BY first_letter_id
LIMIT $2
