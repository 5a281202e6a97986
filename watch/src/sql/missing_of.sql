select count(*) from operations.missing_message where consumer = $1 and confirmed_at is not null
