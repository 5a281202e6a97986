select count(*) from store.lease where name like $1 and expires_at > clock_timestamp()
