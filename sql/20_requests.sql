-- How operators ask for something: each function writes a row to migrator.request and notifies the controller, which
-- answers in the row's report. None of them waits. EXECUTE is granted to migrator_operator only (40_grants.sql).

CREATE FUNCTION migrator.controller_seen(mapping text) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT COALESCE(max(m.updated_at) > clock_timestamp() - interval '30 seconds', false)
    FROM migrator.mapping m WHERE m.mapping = controller_seen.mapping;
END;
COMMENT ON FUNCTION migrator.controller_seen(text) IS 'Whether a controller has looked after this mapping in the last 30 seconds.';

CREATE FUNCTION migrator.request(mapping text, kind text, arguments jsonb DEFAULT '{}') RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    request_id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM migrator.mapping m WHERE m.mapping = request.mapping) THEN
        RAISE EXCEPTION 'mapping % does not exist', quote_literal(request.mapping)
            USING ERRCODE = 'undefined_object',
                  HINT = 'select mapping from migrator.mappings lists the mappings of this control database.';
    END IF;
    IF EXISTS (SELECT FROM migrator.request r WHERE r.mapping = request.mapping AND r.kind = 'complete' AND r.succeeded) THEN
        RAISE EXCEPTION 'mapping % is complete already', quote_literal(request.mapping)
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF request.kind <> 'complete'
       AND EXISTS (SELECT FROM migrator.request r WHERE r.mapping = request.mapping AND r.kind = 'cutover' AND r.succeeded) THEN
        RAISE EXCEPTION 'mapping % has been cut over already', quote_literal(request.mapping)
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'what is left to do is migrator.mark_complete().';
    END IF;
    INSERT INTO migrator.request (mapping, kind, arguments)
        VALUES (request.mapping, request.kind, request.arguments)
        ON CONFLICT DO NOTHING
        RETURNING id INTO request_id;
    IF request_id IS NULL THEN
        RAISE EXCEPTION 'a % of mapping % is already under way', request.kind, quote_literal(request.mapping)
            USING ERRCODE = 'object_in_use',
                  HINT = 'select * from migrator.requests shows how far it is.';
    END IF;
    PERFORM pg_notify('migrator_request', json_build_object('id', request_id, 'mapping', request.mapping, 'kind', request.kind)::text);
    RETURN request_id;
END
$$;
COMMENT ON FUNCTION migrator.request(text, text, jsonb) IS 'Writes a request and wakes the controller; gives the id of its row in migrator.requests.';

CREATE FUNCTION migrator.cutover(mapping text, timeout interval DEFAULT '300 seconds') RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    obstacles text[];
BEGIN
    IF timeout IS NULL OR timeout <= interval '0' OR NOT isfinite(timeout) THEN
        RAISE EXCEPTION 'the time limit of a cutover must be positive and finite, not %', COALESCE(timeout::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT r.blockers INTO obstacles FROM migrator.cutover_ready() r
        WHERE r.mapping = cutover.mapping AND NOT r.ready
          -- What is over already is told by request().
          AND NOT EXISTS (SELECT FROM migrator.request q
                          WHERE q.mapping = cutover.mapping AND q.kind IN ('cutover', 'complete') AND q.succeeded);
    IF FOUND THEN
        RAISE EXCEPTION 'mapping % is not ready for cutover', quote_literal(cutover.mapping)
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = array_to_string(obstacles, E'\n'),
                  HINT = 'select * from migrator.cutover_checks where not ok shows what to do about each.';
    END IF;
    RETURN migrator.request(cutover.mapping, 'cutover', jsonb_build_object('timeout_seconds', extract(epoch FROM timeout)));
END
$$;
COMMENT ON FUNCTION migrator.cutover(text, interval) IS
    'Asks for an assisted cutover: writes on the source are blocked, the rest is applied, sequences and triggers are set; undone if it takes longer than the timeout.';

CREATE FUNCTION migrator.mark_complete(mapping text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    obstacles text[];
BEGIN
    IF NOT EXISTS (SELECT FROM migrator.request r
                   WHERE r.mapping = mark_complete.mapping AND (r.kind IN ('cutover', 'complete') AND r.succeeded
                        -- A cleanup that was begun is gone on with.
                        OR r.kind = 'complete' AND r.started_at IS NOT NULL)) THEN
        SELECT r.blockers INTO obstacles FROM migrator.cutover_ready() r WHERE r.mapping = mark_complete.mapping AND NOT r.ready;
        IF FOUND THEN
            RAISE EXCEPTION 'mapping % cannot be completed: it has not been cut over and is not ready to be', quote_literal(mark_complete.mapping)
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = array_to_string(obstacles, E'\n'),
                      HINT = 'select * from migrator.cutover_checks where not ok shows what to do about each.';
        END IF;
    END IF;
    RETURN migrator.request(mark_complete.mapping, 'complete');
END
$$;
COMMENT ON FUNCTION migrator.mark_complete(text) IS
    'Asks for cleanup after the switch: subscriptions, slots, publications, replica identities and the write block are undone on both sides; the report stays.';

CREATE FUNCTION migrator.pause(mapping text) RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC SELECT migrator.request(pause.mapping, 'pause'); END;
COMMENT ON FUNCTION migrator.pause(text) IS 'Asks the controller to begin no further copy of this mapping; streams go on.';

CREATE FUNCTION migrator.resume(mapping text) RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC SELECT migrator.request(resume.mapping, 'resume'); END;
COMMENT ON FUNCTION migrator.resume(text) IS 'Takes a pause back.';

CREATE FUNCTION migrator.resync(mapping text, database text DEFAULT NULL, "table" text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC SELECT migrator.request(resync.mapping, 'resync', jsonb_build_object('database', resync.database, 'table', resync."table")); END;
COMMENT ON FUNCTION migrator.resync(text, text, text) IS 'Asks for a fresh copy of a mapping, one of its databases, or one table. The streams of what is copied stand still until the copy is over.';

CREATE FUNCTION migrator.verify(mapping text, database text DEFAULT NULL, "table" text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC SELECT migrator.request(verify.mapping, 'verify', jsonb_build_object('database', verify.database, 'table', verify."table")); END;
COMMENT ON FUNCTION migrator.verify(text, text, text) IS 'Asks for a comparison of both sides.';
