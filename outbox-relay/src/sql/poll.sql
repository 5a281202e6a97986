select
    (select last_position from store.ledger_batch order by last_position desc limit 1),
    array(select distinct lane from relay.parked where state in ('release', 'skip'))
