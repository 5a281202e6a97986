UPDATE messaging.redrive_key
SET state = $3, reason = $4
WHERE redrive_id = $1 AND first_letter_id = $2
