DELETE FROM messaging.inbox
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM messaging.inbox AS claim
    WHERE applied_at < clock_timestamp() - make_interval(secs => $1)
      AND NOT EXISTS (
          SELECT FROM messaging.dead_letter AS letter
          WHERE letter.state IN ('dead', 'behind')
            AND (letter.consumer, letter.message_id) = (claim.consumer, claim.message_id)
      )
    LIMIT $2
))
