-- What a ticket shop writes today: a stock row, an order row and an outbox row in one transaction.
create schema if not exists row_lock;
create table row_lock.stock (id int primary key, available int not null, locked int not null);
create table row_lock.purchase (
    id bigint generated always as identity primary key, user_id int not null, ticket_type int not null, quantity int not null
);
create table row_lock.outbox (id bigint generated always as identity primary key, body text not null);
insert into row_lock.stock values (1, 100000000, 0);
