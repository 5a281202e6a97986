-- Whoever worked on it before can write no more. Another fold starts from nothing, an older one leaves it alone.
update projection.rebuild
set lease_token = $2,
    state = case when code_version = $3 then state else 'running' end,
    position = case when code_version = $3 then position else 0 end,
    code_version = $3,
    updated_at = clock_timestamp()
where id = $1 and state in ('running', 'verifying') and lease_token < $2 and code_version <= $3
