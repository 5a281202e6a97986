select consumer, topic, count(*)
from messaging.dead_letter
where state in ('dead', 'behind')
group by consumer, topic
