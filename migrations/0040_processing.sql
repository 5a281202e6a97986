-- What the processors keep besides the ledger: how to reach a user. Phone and e-mail live here and in
-- the messages that carry them, never in an event: an append-only ledger could not forget them.

CREATE SCHEMA IF NOT EXISTS processing;

CREATE TABLE processing.contact (
    user_id    bigint      PRIMARY KEY CHECK (user_id > 0),
    phone      text        CHECK (length(phone) <= 32),
    email      text        CHECK (length(email) <= 254),
    language   text        NOT NULL DEFAULT 'zh' CHECK (language IN ('zh', 'en')),
    channels   text[]      NOT NULL DEFAULT '{}' CHECK (channels <@ ARRAY['in_app', 'sms', 'email']),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
