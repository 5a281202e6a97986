select count(*) from operations.missing_message where consumer = $1 and topic = $2
