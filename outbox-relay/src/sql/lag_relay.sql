select
    (select last_position from store.ledger_batch order by last_position desc limit 1),
    (select count(*) from relay.parked where state in ('parked', 'behind', 'release', 'skip')),
    (select holder from store.lease where name = $1 and expires_at > clock_timestamp()),
    (select state from relay.circuit where dependency = 'broker')
