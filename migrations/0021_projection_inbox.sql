-- Why: delivery is at least once. A projection remembers each messageId in the transaction of its effect, so that a
-- message that comes again has none. (Processors keep theirs in store.command_key, within the append.)
CREATE TABLE messaging.inbox (
    consumer    text NOT NULL,
    message_id  uuid NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, message_id)
);

-- Clean-up by age. BRIN, because rows arrive in the order of applied_at and a btree would cost every insert.
CREATE INDEX inbox_applied_at ON messaging.inbox USING brin (applied_at);
