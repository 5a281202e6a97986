INSERT INTO processing.contact (user_id, phone, email, language, channels)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id) DO UPDATE
SET phone = excluded.phone,
    email = excluded.email,
    language = excluded.language,
    channels = excluded.channels,
    updated_at = clock_timestamp()
