-- Keys are credentials, not conversation: they are not in the log, so that a revoked key's
-- hash can be deleted. Only the hash of a key is kept.
CREATE TABLE api_keys (
    id         uuid        PRIMARY KEY,
    hash       bytea       NOT NULL UNIQUE,
    -- The key's first characters, so that a person can tell keys apart.
    prefix     text        NOT NULL,
    name       text        NOT NULL,
    tenant_id  text        NOT NULL,
    user_id    text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('user', 'admin')),
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
