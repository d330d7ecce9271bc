-- Read models: everything here can be rebuilt from the log at any time.
-- The tables are written by the projections crate alone.

CREATE TABLE checkpoints (
    name       text        PRIMARY KEY,
    -- The newest event that the read model contains.
    position   bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    -- Counts rebuilds, so that a projector notices one even when the position stays the same.
    generation integer     NOT NULL DEFAULT 0,
    moved_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
INSERT INTO checkpoints (name) VALUES ('sessions'), ('messages'), ('turns');

-- Events that a projection could not take in, and all later ones of the same stream.
CREATE TABLE parked_events (
    projection     text        NOT NULL,
    position       bigint      NOT NULL,
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    event_type     text        NOT NULL,
    error          text        NOT NULL,
    PRIMARY KEY (projection, position)
);

-- Rows of sessions and turns change soon after they were written: free space keeps the new
-- version of a row in its page, and updates of turns that touch no index out of the indexes.
CREATE TABLE sessions (
    session_id           uuid        PRIMARY KEY,
    tenant_id            text        NOT NULL,
    user_id              text        NOT NULL,
    title                text,
    status               text        NOT NULL,
    settings             json        NOT NULL,
    tags                 text[]      NOT NULL,
    metadata             json        NOT NULL,
    ephemeral            boolean     NOT NULL,
    message_count        integer     NOT NULL,
    last_message_preview text,
    active_turns         uuid[]      NOT NULL,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    created_position     bigint      NOT NULL,
    last_position        bigint      NOT NULL
) WITH (fillfactor = 75);
CREATE INDEX sessions_by_user ON sessions (tenant_id, user_id, updated_at, session_id)
    WHERE NOT ephemeral;
CREATE INDEX sessions_by_tenant ON sessions (tenant_id, updated_at, session_id)
    WHERE NOT ephemeral;

CREATE TABLE messages (
    message_id    uuid        PRIMARY KEY,
    session_id    uuid        NOT NULL,
    tenant_id     text        NOT NULL,
    parent_id     uuid,
    role          text        NOT NULL,
    content       json        NOT NULL,
    name          text,
    -- The turn that wrote it; null for a message that was sent.
    turn_id       uuid,
    finish_reason text,
    usage         json,
    created_at    timestamptz NOT NULL,
    position      bigint      NOT NULL,
    -- Its place among the messages of one event.
    ordinal       integer     NOT NULL
);
CREATE UNIQUE INDEX messages_in_order ON messages (session_id, position, ordinal);

CREATE TABLE turns (
    turn_id             uuid        PRIMARY KEY,
    session_id          uuid        NOT NULL,
    tenant_id           text        NOT NULL,
    message_id          uuid        NOT NULL,
    answer_id           uuid        NOT NULL,
    status              text        NOT NULL,
    attempt             integer     NOT NULL,
    worker_id           text,
    model               text,
    pool                text        NOT NULL,
    finish_reason       text,
    error               json,
    usage               json,
    timing              json,
    cuts                json,
    cancel_requested_at timestamptz,
    requested_at        timestamptz NOT NULL,
    queued_at           timestamptz NOT NULL,
    started_at          timestamptz,
    ended_at            timestamptz,
    requested_position  bigint      NOT NULL,
    last_position       bigint      NOT NULL
) WITH (fillfactor = 75);
CREATE INDEX turns_of_session ON turns (session_id, requested_position);
CREATE INDEX turns_unfinished ON turns (requested_at) WHERE ended_at IS NULL;
