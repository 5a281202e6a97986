-- Why: people look at the ledger with a database tool; what they see has names of its own, apart from the tables.

create schema ledger;

create view ledger.events as
select position, stream_id, version, event_id, type as event_type, schema_version, payload, metadata, recorded_at,
    encode(hash, 'hex') as hash
from store.events;

-- Rows that the relay has sent are taken away after a while.
create view ledger.outbox as
select position, n as message_number, lane, topic, ordering_key, business_id, event_type, message_id, body::json as body
from store.outbox;

comment on view ledger.events is 'Every event, by position: gapless and in commit order.';
comment on view ledger.outbox is 'Messages to send, and those sent lately, by the event that caused them.';
