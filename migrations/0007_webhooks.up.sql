-- What is to be told to other systems, and how far each try has come. Times are the
-- database's, so that processes agree on them.

CREATE TABLE webhook_endpoints (
    -- A hash of the URL and the tenant, which may hold secrets.
    endpoint text        PRIMARY KEY,
    -- Events up to here have their deliveries.
    position bigint      NOT NULL CHECK (position >= 0),
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

CREATE TABLE webhook_deliveries (
    -- Follows from the event and the endpoint: the same for every try.
    delivery_id  uuid        PRIMARY KEY,
    endpoint     text        NOT NULL,
    -- The endpoint's name, for people.
    name         text        NOT NULL,
    tenant_id    text        NOT NULL,
    position     bigint      NOT NULL,
    -- The body, byte for byte as it is signed.
    payload      text        NOT NULL,
    attempts     integer     NOT NULL DEFAULT 0,
    -- While a try is under way: when another process may take it for lost.
    next_try_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    given_up_at  timestamptz,
    last_error   text
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, next_try_at)
    WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);
