-- Why: a thousand dead letters are seldom a thousand problems. Each row names its cause in words that are the same for all that
-- failed alike, so that people see three problems and mend three; and each keeps the record of what became of it.
ALTER TABLE messaging.dead_letter
    -- The kind of failure and its message without ids, numbers and quoted values. For a row that only waits: that it waits.
    ADD COLUMN cause text NOT NULL DEFAULT 'unknown',
    -- What came, where a person has replaced the body. The row stays one, so that its place in its key does too.
    ADD COLUMN original_body bytea;

-- Rows from before: near enough to what the program would have made of them. The next failure names the cause exactly.
UPDATE messaging.dead_letter
SET cause = CASE
    WHEN state = 'behind' THEN 'behind: waits for an earlier message of its key'
    ELSE left(
        CASE WHEN attempts = 0 THEN 'poison: ' ELSE 'failed: ' END
        || regexp_replace(regexp_replace(reason, '"[^"]*"', '…', 'g'), '\m[0-9][0-9.,]*\M', 'N', 'g'), 200)
END;

-- Groups and lists by cause; mostly empty.
CREATE INDEX dead_letter_by_cause ON messaging.dead_letter (consumer, topic, cause, id)
    WHERE state IN ('dead', 'behind');

-- What happened to a message at a consumer, written in the transaction of the change. By (consumer, identity) and not by the
-- row's id: a message that failed again after it was resolved is a new row with the same past.
CREATE TABLE messaging.dead_letter_history (
    entry_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer  text NOT NULL,
    identity  text NOT NULL,
    -- The database's clock.
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL: the consumer itself.
    actor     text,
    action    text NOT NULL CHECK (action IN ('parked', 'failed_again', 'edited', 'redriven', 'discarded')),
    reason    text,
    -- How often it had been tried by then.
    attempt   integer
);

CREATE INDEX dead_letter_history_of ON messaging.dead_letter_history (consumer, identity, entry_id);

INSERT INTO messaging.dead_letter_history (consumer, identity, at, action, reason)
SELECT consumer, identity, created_at, 'parked', reason
FROM messaging.dead_letter
ORDER BY id;

INSERT INTO messaging.dead_letter_history (consumer, identity, at, actor, action, attempt)
SELECT consumer, identity, resolved_at, resolved_by, state, attempts
FROM messaging.dead_letter
WHERE state IN ('redriven', 'discarded')
ORDER BY id;
