-- Appends that carry the records of several commands, and snapshots.

DROP FUNCTION append_events;

-- Appends a batch of commands, each all or nothing, and tells the verdict on each:
--   appended   its events are in the log
--   duplicate  it was appended before (same command id and hash, or the very same events):
--              the positions and the outcome are those of the first time
--   reused     its command id was used for another request
--   conflict   a stream is not at the expected version; or it has several records and one of
--              them is known already
-- Commands are numbered from 1, as c_tenant lists them. Each may have any number of records
-- (r_…); r_first and r_last are the ordinals, from 0, of the record's events among those of its
-- command. No two commands of a batch may touch the same stream or share a record's id.
--
-- The lock is taken in a statement of its own, so that the following one sees everything that
-- was committed before it: positions are gapless and their order is the commit order. The
-- settings keep the plan to index look-ups, whatever the tables' statistics say.
CREATE FUNCTION append_events(
    c_tenant text[],
    r_command int[], r_user text[], r_id text[], r_hash bytea[], r_outcome text[],
    r_first bigint[], r_last bigint[],
    s_command int[], s_type text[], s_id text[], s_expected bigint[],
    e_command int[], e_event_id uuid[], e_type text[], e_id text[], e_sequence bigint[],
    e_name text[], e_version text[], e_payload text[], e_metadata text[]
) RETURNS TABLE (command int, verdict text, first_position bigint, last_position bigint, outcome json)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    head bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7245873190467);
    SELECT coalesce(max(position), 0) INTO head FROM events;

    RETURN QUERY
    WITH r AS MATERIALIZED (
        SELECT u.*, c_tenant[u.n] AS tenant, count(*) OVER (PARTITION BY u.n) AS of_command
        FROM unnest(r_command, r_user, r_id, r_hash, r_outcome, r_first, r_last)
             AS u (n, usr, id, hash, answer, first, last)
    ), known AS MATERIALIZED (
        SELECT r.n, r.of_command, k.request_hash = r.hash AS same,
               k.first_position, k.last_position, k.outcome
        FROM r JOIN commands k ON k.tenant_id = r.tenant AND k.user_id = r.usr AND k.command_id = r.id
    ), stale AS MATERIALIZED (
        SELECT DISTINCT s.n
        FROM unnest(s_command, s_type, s_id, s_expected) AS s (n, type, id, expected)
        WHERE s.expected <> coalesce((SELECT max(v.sequence) FROM events v
                                      WHERE v.aggregate_type = s.type AND v.aggregate_id = s.id), 0)
    ), e AS MATERIALIZED (
        SELECT u.*
        FROM unnest(e_command, e_event_id, e_type, e_id, e_sequence, e_name, e_version, e_payload, e_metadata)
             WITH ORDINALITY AS u (n, event_id, type, id, sequence, name, version, payload, metadata, ord)
    ), repeated AS MATERIALIZED (
        -- Stale because an earlier try went through and only its reply was lost.
        SELECT e.n, min(v.position) AS first, max(v.position) AS last
        FROM stale JOIN e ON e.n = stale.n
        JOIN events v ON v.aggregate_type = e.type AND v.aggregate_id = e.id
                     AND v.sequence = e.sequence AND v.event_id = e.event_id
        GROUP BY e.n
        HAVING count(*) = (SELECT count(*) FROM e every WHERE every.n = e.n)
    ), placed AS MATERIALIZED (
        SELECT e.*, c_tenant[e.n] AS tenant, head + row_number() OVER (ORDER BY e.n, e.ord) AS position
        FROM e
        WHERE e.n NOT IN (SELECT known.n FROM known) AND e.n NOT IN (SELECT stale.n FROM stale)
    ), span AS MATERIALIZED (
        SELECT placed.n, min(position) AS first, max(position) AS last FROM placed GROUP BY placed.n
    ), inserted AS (
        INSERT INTO events (position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                            event_type, event_version, payload, metadata)
        SELECT position, event_id, tenant, type, id, sequence, name, version,
               payload::json, metadata::json
        FROM placed ORDER BY position
    ), remembered AS (
        INSERT INTO commands (tenant_id, user_id, command_id, request_hash, outcome,
                              first_position, last_position)
        SELECT r.tenant, r.usr, r.id, r.hash, r.answer::json, span.first + r.first, span.first + r.last
        FROM r JOIN span ON span.n = r.n
    )
    SELECT c.n::int,
           CASE WHEN span.n IS NOT NULL THEN 'appended'
                WHEN alone.same THEN 'duplicate'
                WHEN alone.n IS NOT NULL THEN 'reused'
                WHEN repeated.n IS NOT NULL THEN 'duplicate'
                ELSE 'conflict' END,
           coalesce(span.first, alone.first_position, repeated.first),
           coalesce(span.last, alone.last_position, repeated.last),
           alone.outcome
    FROM unnest(c_tenant) WITH ORDINALITY AS c (tenant, n)
    LEFT JOIN span ON span.n = c.n
    -- What is known of several records is no answer for the whole.
    LEFT JOIN known alone ON alone.n = c.n AND alone.of_command = 1
    LEFT JOIN repeated ON repeated.n = c.n
    ORDER BY c.n;
END
$$;

-- Folded states, so that a long stream need not be read from its first event. Never the truth:
-- the table may be emptied at any time.
CREATE TABLE snapshots (
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    -- The last event that is in the state, and its id: in a database that was put back to an
    -- earlier time another event may come to stand there.
    version        bigint      NOT NULL CHECK (version > 0),
    event_id       uuid        NOT NULL,
    -- The name of the state's shape: a program reads only the one it writes.
    shape          text        NOT NULL,
    -- SHA-256 over type, id, version, shape and the state's bytes.
    hash           bytea       NOT NULL,
    -- json, not jsonb: the bytes stay as they were written.
    state          json        NOT NULL,
    taken_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (aggregate_type, aggregate_id)
);
