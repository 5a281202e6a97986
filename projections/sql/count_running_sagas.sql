select step, count(*)
from read_models.sagas
where status = 'running'
group by step
