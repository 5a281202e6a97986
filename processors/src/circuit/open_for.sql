SELECT extract(epoch FROM open_until - clock_timestamp())::double precision
FROM processing.circuit
WHERE dependency = $1
  AND open_until > clock_timestamp()
