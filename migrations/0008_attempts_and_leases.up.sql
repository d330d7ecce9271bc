-- Which turns each worker process is at. A row is renewed by the database's clock, so that
-- processes agree on it. It tells who is alive, and nothing else: losing it is harmless.
CREATE TABLE worker_leases (
    worker_id  text        PRIMARY KEY,
    turns      uuid[]      NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What a turn's lost attempts cost: attempt, code, usage and time of each. Nobody is billed for it.
ALTER TABLE turns ADD COLUMN abandoned json NOT NULL DEFAULT '[]';
