select {key}::text
from {table} shown
full join {rebuilt} rebuilt using ({key})
where shown is distinct from rebuilt
