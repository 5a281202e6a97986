-- Why: a replay of many messages takes a while. It must survive its process, be known to others, and say what it can no
-- longer send. None of it touches the outbox or the relay's cursors: a replay reads what they have done.

create table relay.replay (
    replay_id           bigint      not null generated always as identity,
    topic               text        not null,
    -- The topic itself, or another one.
    to_topic            text        not null,
    -- The consumer it is for, where it is for one.
    for_consumer        text,
    -- Which messages: of one stream's events, of one key; all where null. Events in (after_position, upto_position].
    stream_id           text,
    message_key         text,
    after_position      bigint      not null,
    upto_position       bigint      not null,
    messages_per_second integer,
    -- Counted when it began.
    messages            bigint      not null,
    -- running: also when its process has died; its lease tells. done, failed: it has ended.
    state               text        not null default 'running',
    problem             text,
    requested_by        text        not null,
    started_at          timestamptz not null default clock_timestamp(),
    ended_at            timestamptz,
    -- The lease's: whoever lost it moves nothing.
    token               bigint      not null,
    constraint replay_pkey primary key (replay_id),
    constraint replay_range_check check (after_position <= upto_position),
    constraint replay_rate_check check (messages_per_second > 0),
    constraint replay_state_check check (state in ('running', 'done', 'failed')),
    constraint replay_ended_check check ((ended_at is not null) = (state in ('done', 'failed')))
);

-- How far it came in each lane, and where it ends: at the last message that the relay had sent when the replay began. What
-- is not sent yet leaves by itself, and a copy must not be there before it.
create table relay.replay_lane (
    replay_id       bigint      not null references relay.replay on delete cascade,
    lane            smallint    not null,
    position        bigint      not null,
    n               smallint    not null,
    end_position    bigint      not null,
    end_n           smallint    not null,
    sent_messages   bigint      not null default 0,
    constraint replay_lane_pkey primary key (replay_id, lane)
);

-- What the clean-up took out of the outbox, so that a replay can say how much of a range is gone. Counted for stretches of
-- positions: a row for each clean-up would be as many as there are minutes.
create table relay.taken_away (
    lane            smallint    not null,
    stretch         bigint      not null,
    first_position  bigint      not null,
    last_position   bigint      not null,
    messages        bigint      not null,
    constraint taken_away_pkey primary key (lane, stretch)
);

-- Whether a message is one of those asked for. The key is what it is ordered by, what a person would search for, or its order.
create function relay.is_wanted(
    stream_id text, ordering_key text, business_id text, body text, wanted_stream text, wanted_key text
) returns boolean language sql immutable as $$
    select (wanted_stream is null or stream_id = wanted_stream)
        and (wanted_key is null or wanted_key in (ordering_key, business_id)
            or coalesce(body::json #>> '{data,orderId}' = wanted_key, false))
$$;
