-- Why: lists of orders by user and by status, newest first. `placed_position` is the ledger position of the order's
-- first event: unique and in commit order, so it is the page key (an order's own time comes from a wall clock).
-- No column depends on when or by whom the row was written, so that two builds of the table are equal.
create table projection.orders_v1 (
    -- "C" here and below: identifiers are compared as bytes, as the ledger does.
    order_id        text collate "C" primary key,
    user_id         bigint not null,
    show_id         bigint not null,
    ticket_type_id  bigint not null,
    quantity        bigint not null,
    total_amount    numeric(16, 2) not null,
    status          text collate "C" not null,
    reason          text,
    order_time      timestamptz not null,
    expire_time     timestamptz not null,
    lock_id         text collate "C",
    payment_id      text collate "C",
    mode            text not null,
    placed_position bigint not null,
    version         bigint not null,
    position        bigint not null
);
create index orders_v1_by_placed on projection.orders_v1 (placed_position);
create index orders_v1_by_user on projection.orders_v1 (user_id, placed_position);
create index orders_v1_by_status on projection.orders_v1 (status, placed_position);

create view read_models.orders as
    select order_id, user_id, show_id, ticket_type_id, quantity, total_amount, status, reason, order_time, expire_time,
           lock_id, payment_id, mode, placed_position, version, position
    from projection.orders_v1;

insert into projection.read_model (name, active_version, code_version) values ('orders', 1, 1);
insert into projection.checkpoint (name, version) values ('orders', 1);
