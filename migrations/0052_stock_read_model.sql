-- Why: what is left of each ticket type, without folding its stream. Signed numbers without checks: the table must be
-- able to show a ledger that is wrong, for `verify` to name it.
create table projection.stock_v1 (
    ticket_type_id bigint primary key,
    show_id        bigint not null,
    name           text not null,
    price          numeric(16, 2) not null,
    capacity       bigint not null,
    available      bigint not null,
    locked         bigint not null,
    sold           bigint not null,
    version        bigint not null,
    position       bigint not null
) with (fillfactor = 50);

create view read_models.stock as
    select ticket_type_id, show_id, name, price, capacity, available, locked, sold, version, position
    from projection.stock_v1;

insert into projection.read_model (name, active_version, code_version) values ('stock', 1, 1);
insert into projection.checkpoint (name, version) values ('stock', 1);
