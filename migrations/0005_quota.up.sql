-- Read models of the quota ledger; they can be rebuilt from the log as the others can.
-- Money is text: exact decimals, which no reader turns into floats. Sums cast it to numeric.

INSERT INTO checkpoints (name) VALUES ('accounts'), ('transactions'), ('usage_daily');

-- Rows change with every event of the account: free space keeps the new version in its page.
CREATE TABLE accounts (
    account_id    uuid        PRIMARY KEY,
    tenant_id     text        NOT NULL,
    user_id       text        NOT NULL,
    tier          text        NOT NULL,
    suspended     boolean     NOT NULL,
    -- The folded aggregate.
    state         json        NOT NULL,
    -- When the first of the holds that count ends by itself.
    next_expiry   timestamptz,
    opened_at     timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    last_position bigint      NOT NULL
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX accounts_of_user ON accounts (tenant_id, user_id);
CREATE INDEX accounts_expiring ON accounts (next_expiry) WHERE next_expiry IS NOT NULL;

CREATE TABLE transactions (
    -- The event's id.
    transaction_id   uuid        PRIMARY KEY,
    account_id       uuid        NOT NULL,
    tenant_id        text        NOT NULL,
    position         bigint      NOT NULL,
    kind             text        NOT NULL,
    entry_id         uuid,
    turn_id          uuid,
    service          text,
    model            text,
    usage            json,
    price            json,
    priced_at        timestamptz,
    -- What the line adds to the balance, and what that comes to.
    tokens           bigint      NOT NULL,
    credits          text        NOT NULL,
    balance_tokens   bigint      NOT NULL,
    balance_credits  text        NOT NULL,
    estimated        boolean     NOT NULL,
    late             boolean     NOT NULL,
    overdrawn_tokens bigint      NOT NULL,
    -- The entry whose price the line corrects.
    reprices         uuid,
    reason           text,
    by_user          text,
    at               timestamptz NOT NULL
);
CREATE UNIQUE INDEX transactions_of_account ON transactions (account_id, position);
CREATE INDEX transactions_consumed ON transactions (position) WHERE kind = 'consumption';
CREATE INDEX transactions_repricing ON transactions (account_id, reprices)
    WHERE reprices IS NOT NULL;

CREATE TABLE usage_daily (
    -- Follows from account, day, service and model.
    usage_id           uuid   PRIMARY KEY,
    account_id         uuid   NOT NULL,
    tenant_id          text   NOT NULL,
    -- In UTC.
    day                date   NOT NULL,
    service            text   NOT NULL,
    model              text   NOT NULL,
    requests           bigint NOT NULL,
    prompt_tokens      bigint NOT NULL,
    completion_tokens  bigint NOT NULL,
    cached_tokens      bigint NOT NULL,
    reasoning_tokens   bigint NOT NULL,
    credits            text   NOT NULL,
    estimated_requests bigint NOT NULL,
    -- The largest single request.
    most_tokens        bigint NOT NULL,
    last_position      bigint NOT NULL
) WITH (fillfactor = 75);
CREATE INDEX usage_of_account ON usage_daily (account_id, day);
CREATE INDEX usage_of_tenant ON usage_daily (tenant_id, day);

ALTER TABLE turns
    ADD COLUMN stopped_by     text,
    ADD COLUMN credits        text,
    ADD COLUMN quota_warnings json NOT NULL DEFAULT '[]';
