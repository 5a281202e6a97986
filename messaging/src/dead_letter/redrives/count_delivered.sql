UPDATE messaging.redrive_key
SET delivered = delivered + 1
WHERE redrive_id = $1 AND first_letter_id = $2
RETURNING EXISTS (SELECT FROM messaging.redrive WHERE redrive_id = $1 AND state = 'running' AND worker = $3)
