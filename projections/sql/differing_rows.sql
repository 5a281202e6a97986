select to_jsonb(shown)::text as shown, to_jsonb(rebuilt)::text as rebuilt
from {table} shown
full join {rebuilt} rebuilt using ({key})
where shown is distinct from rebuilt
order by {key}
limit $1
