-- Why: what a user was told, and what became of it on each channel. No phone number and no e-mail address is here:
-- none enters an event. `channels` is an array of {channel, status, providerReference, reason} in dispatch order.
create table projection.notifications_v1 (
    notification_id    text collate "C" primary key,
    user_id            bigint not null,
    order_id           text collate "C" not null,
    template           text not null,
    title              text not null,
    body               text not null,
    status             text not null,
    channels           jsonb not null,
    requested_at       timestamptz not null,
    requested_position bigint not null,
    version            bigint not null,
    position           bigint not null
);
create index notifications_v1_by_user on projection.notifications_v1 (user_id, requested_position);

create view read_models.notifications as
    select notification_id, user_id, order_id, template, title, body, status, channels, requested_at,
           requested_position, version, position
    from projection.notifications_v1;

insert into projection.read_model (name, active_version, code_version) values ('notifications', 1, 1);
insert into projection.checkpoint (name, version) values ('notifications', 1);
