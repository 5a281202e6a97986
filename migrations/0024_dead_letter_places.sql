-- Why: letters whose id could not be read are looked for by their event's position, by whoever counts messages; and a list of
-- those that wait must not walk past all that were ever redriven.
CREATE INDEX dead_letter_by_place ON messaging.dead_letter (consumer, topic, (properties ->> 'position'))
    WHERE message_id IS NULL OR identity <> message_id::text;

CREATE INDEX dead_letter_undelivered_by_id ON messaging.dead_letter (id) WHERE state IN ('dead', 'behind');
