-- The end of the first append that ends at or behind this position.
select min(last_position) from store.ledger_batch where last_position >= $1 and last_position <= $2
