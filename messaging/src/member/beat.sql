-- Those of the group that have been gone for long are taken away by the way.
WITH gone AS (
    DELETE FROM messaging.member
    WHERE consumer_group = $1 AND seen_at < clock_timestamp() - make_interval(secs => $6)
)
INSERT INTO messaging.member AS known (consumer_group, member, topic, applied_per_second, is_connected, seen_at)
SELECT $1, $2, topic, applied_per_second, $5, clock_timestamp()
FROM unnest($3::text[], $4::double precision[]) AS said (topic, applied_per_second)
ON CONFLICT (consumer_group, topic, member) DO UPDATE
SET is_connected = EXCLUDED.is_connected,
    applied_per_second = EXCLUDED.applied_per_second,
    seen_at = EXCLUDED.seen_at
