-- What operators did, by whom and why: switches of the rollout, redriven and discarded letters, resolved sagas. It is written
-- in the transaction of what it tells of, and never changed: an action without its record, or the other way round, would
-- be worse than none.

CREATE SCHEMA IF NOT EXISTS operations;

CREATE TABLE operations.action (
    action_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor       text        NOT NULL,
    -- What was done, such as 'rollout.change'.
    action      text        NOT NULL,
    -- To what, such as an order's id.
    subject     text        NOT NULL,
    detail      jsonb       NOT NULL DEFAULT '{}'
);

CREATE INDEX action_by_subject ON operations.action (subject, action_id);

CREATE FUNCTION operations.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'operations.action is append-only'; END $$;

CREATE TRIGGER action_is_append_only BEFORE UPDATE OR DELETE ON operations.action
    FOR EACH ROW EXECUTE FUNCTION operations.refuse_change();
