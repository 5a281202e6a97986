-- What an active relay said a moment ago holds; what one that is gone said holds no more.
select
    (select last_position from store.ledger_batch order by last_position desc limit 1) as head,
    (select count(*) from relay.parked where state in ('parked', 'behind', 'release', 'skip')) as parked_messages,
    (select holder from store.lease where name = $1 and expires_at > clock_timestamp()) as lease_owner,
    case when broker.is_fresh then broker.state end as circuit,
    case when broker.is_fresh then broker.sent_per_second end as sent_per_second,
    case when broker.is_fresh then broker.in_flight_messages end as in_flight_messages
from (select) as one
left join (
    select state, sent_per_second, in_flight_messages,
        reported_at > clock_timestamp() - make_interval(secs => $2) as is_fresh
    from relay.circuit
    where dependency = 'broker'
) broker on true
