-- Versions are never used twice: a table of that name may still be on its way out.
insert into projection.rebuild (name, version, code_version, dry_run, requested_by, target)
select m.name,
       1 + greatest(
           (select max(c.version) from projection.checkpoint c where c.name = m.name),
           (select max(r.version) from projection.rebuild r where r.name = m.name)
       ),
       $2, $3, $4, c.position
from projection.read_model m
join projection.checkpoint c on c.name = m.name and c.version = m.active_version
where m.name = $1
-- Asked for twice at once, it is the version that is there already, or the one that is not over.
on conflict do nothing
returning id
