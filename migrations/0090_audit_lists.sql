-- Why: operators look the record of actions up by who did something and by what was done, newest first, in pages.
CREATE INDEX action_by_actor ON operations.action (actor, action_id);
CREATE INDEX action_by_action ON operations.action (action text_pattern_ops, action_id);
