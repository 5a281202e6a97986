update projection.checkpoint set position = $2 where name = $1 and live and position > $2
