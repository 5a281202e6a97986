-- A sequence counts what is rolled back, too.
create sequence test_renewals;
create function refuse_renewal() returns trigger language plpgsql as
$$ begin perform nextval('test_renewals'); raise exception 'not now'; end $$;
create trigger refuse_renewals before update on store.lease
    for each row when (old.name = 'rebuild-orders') execute function refuse_renewal();
