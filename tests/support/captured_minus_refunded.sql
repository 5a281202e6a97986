select coalesce(sum(
    case event_type when 'PaymentCaptured' then 1 when 'RefundCompleted' then -1 end * (payload ->> 'amount')::numeric
), 0)::text
from ledger.events
where event_type in ('PaymentCaptured', 'RefundCompleted')
