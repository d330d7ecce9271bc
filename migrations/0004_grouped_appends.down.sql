DROP TABLE snapshots;

DROP FUNCTION append_events;

-- Appends a batch of commands, each all or nothing, and tells the verdict on each:
--   appended   its events are in the log
--   duplicate  it was appended before (same command id and hash, or the very same events):
--              the positions and the outcome are those of the first time
--   reused     its command id was used for another request
--   conflict   a stream is not at the expected version
-- Commands are numbered from 1, as the arrays list them; no two of a batch may touch the same
-- stream or share a command id.
--
-- The lock is taken in a statement of its own, so that the following one sees everything that
-- was committed before it: positions are gapless and their order is the commit order. The
-- settings keep the plan to index look-ups, whatever the tables' statistics say.
CREATE FUNCTION append_events(
    c_tenant text[], c_user text[], c_id text[], c_hash bytea[], c_outcome text[],
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
    WITH c AS MATERIALIZED (
        SELECT n::int, tenant, usr, id, hash, answer
        FROM unnest(c_tenant, c_user, c_id, c_hash, c_outcome)
             WITH ORDINALITY AS u (tenant, usr, id, hash, answer, n)
    ), known AS MATERIALIZED (
        SELECT c.n, k.request_hash = c.hash AS same, k.first_position, k.last_position, k.outcome
        FROM c JOIN commands k ON k.tenant_id = c.tenant AND k.user_id = c.usr AND k.command_id = c.id
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
    ), placed AS MATERIALIZED (
        SELECT e.*, c.tenant, head + row_number() OVER (ORDER BY e.n, e.ord) AS position
        FROM e JOIN c ON c.n = e.n
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
        SELECT c.tenant, c.usr, c.id, c.hash, c.answer::json, span.first, span.last
        FROM c JOIN span ON span.n = c.n WHERE c.id IS NOT NULL
    )
    SELECT c.n,
           CASE WHEN span.n IS NOT NULL THEN 'appended'
                WHEN known.same THEN 'duplicate'
                WHEN known.n IS NOT NULL THEN 'reused'
                WHEN repeated.n IS NOT NULL THEN 'duplicate'
                ELSE 'conflict' END,
           coalesce(span.first, known.first_position, repeated.first),
           coalesce(span.last, known.last_position, repeated.last),
           coalesce(known.outcome, c.answer::json)
    FROM c
    LEFT JOIN span ON span.n = c.n
    LEFT JOIN known ON known.n = c.n
    LEFT JOIN repeated ON repeated.n = c.n
    ORDER BY c.n;
END
$$;
