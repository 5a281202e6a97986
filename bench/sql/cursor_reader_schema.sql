-- The same messages in one plain table with one cursor row.
create schema bench;
create table bench.outbox as
select row_number() over (order by position, n) as id, ordering_key as key, body from store.outbox;
create unique index on bench.outbox (id);
create table bench.cursor (id bigint not null);
insert into bench.cursor values (0);
analyze bench.outbox;
