select clock_timestamp(), (select last_position from store.ledger_batch order by last_position desc limit 1)
