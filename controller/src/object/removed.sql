-- What the source has and version 18 has no more: which kind of difference, the object, and what exactly.
-- Kinds are explained in removed.rs.
WITH RECURSIVE removed_type AS (
    SELECT t.oid FROM pg_catalog.pg_type t
    WHERE t.typnamespace = 11
      AND t.typname IN ('abstime', 'reltime', 'tinterval', '_abstime', '_reltime', '_tinterval', 'opaque')
), polymorphic AS (
    -- Functions that take anycompatible and anycompatiblearray since 14, where they took anyelement and anyarray.
    SELECT p.oid FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 11
      AND p.proname IN ('array_append', 'array_cat', 'array_position', 'array_positions', 'array_prepend', 'array_remove', 'array_replace',
                        'width_bucket')
      AND 2277 = ANY (p.proargtypes::oid[])
), relation AS (
    SELECT c.oid, c.relkind, c.relname, n.nspname, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'e')
), routine AS (
    SELECT p.oid, p.prosrc, p.proconfig, p.prorettype, p.proargtypes, p.proallargtypes, p.prolang, p.oid::regprocedure::text AS name
    FROM pg_catalog.pg_proc p
    WHERE p.oid >= 16384
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype = 'e')
), source_text AS (
    SELECT 'view ' || r.name AS object, pg_catalog.pg_get_viewdef(r.oid) AS body, true AS is_definition
    FROM relation r WHERE r.relkind IN ('v', 'm')
    UNION ALL
    SELECT 'default of column ' || r.name || '.' || pg_catalog.quote_ident(a.attname), pg_catalog.pg_get_expr(d.adbin, d.adrelid), true
    FROM pg_catalog.pg_attrdef d
    JOIN relation r ON r.oid = d.adrelid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    UNION ALL
    SELECT 'function ' || f.name, f.prosrc, false
    FROM routine f JOIN pg_catalog.pg_language l ON l.oid = f.prolang WHERE l.lanname NOT IN ('internal', 'c')
), removed_name (name, since) AS (
    VALUES ('relhasoids', 12), ('proisagg', 11), ('proiswindow', 11), ('relhaspkey', 11), ('adsrc', 12), ('consrc', 12),
           ('protransform', 12), ('replacement_sort_tuples', 11), ('wal_keep_segments', 13),
           ('pg_start_backup', 15), ('pg_stop_backup', 15), ('pg_is_in_backup', 15), ('pg_backup_start_time', 15),
           ('vacuum_cleanup_index_scale_factor', 14), ('operator_precedence_warning', 14), ('stats_temp_directory', 15),
           ('force_parallel_mode', 16), ('vacuum_defer_cleanup_age', 16), ('promote_trigger_file', 16),
           ('daticulocale', 17), ('colliculocale', 17), ('checkpoints_timed', 17), ('checkpoints_req', 17),
           ('checkpoint_write_time', 17), ('checkpoint_sync_time', 17), ('buffers_checkpoint', 17), ('buffers_backend', 17),
           ('buffers_backend_fsync', 17), ('old_snapshot_threshold', 17), ('db_user_namespace', 17), ('trace_recovery_messages', 17),
           ('clientdn', 12), ('stxdependencies', 12), ('stxndistinct', 12), ('timenow', 12), ('pg_pltemplate', 13), ('received_lsn', 13),
           ('currtid', 14), ('numeric_fac', 14), ('datlastsysoid', 15), ('path_center', 15), ('close_lb', 15), ('close_sl', 15),
           ('dist_bl', 15), ('dist_lb', 15), ('pg_read_file_old', 17), ('pg_rotate_logfile_old', 17), ('interval_accum', 17),
           ('max_dead_tuples', 17), ('num_dead_tuples', 17), ('wal_sync', 18), ('wal_write', 18),
           ('adminpack', 17), ('pg_file_unlink', 17), ('attcacheoff', 18), ('op_bytes', 18), ('wal_write_time', 18), ('wal_sync_time', 18)
), removed_operator (id, name, since) AS (
    -- by OID, as expressions name them; the operators of abstime, reltime and tinterval go with their types
    VALUES (388, 'n !', 14), (389, '!! n', 14), (2862, 'box @ box', 14), (2864, 'circle @ circle', 14), (2876, 'lseg @ box', 14),
           (2875, 'lseg @ line', 14), (2866, 'point @ box', 14), (2871, 'point @ circle', 14), (2873, 'point @ line', 14),
           (2874, 'point @ lseg', 14), (2867, 'point @ path', 14), (2869, 'point @ polygon', 14), (2860, 'polygon @ polygon', 14),
           (2863, 'box ~ box', 14), (2865, 'circle ~ circle', 14), (2872, 'circle ~ point', 14), (2868, 'path ~ point', 14),
           (2870, 'polygon ~ point', 14), (2861, 'polygon ~ polygon', 14), (2877, 'aclitem[] ~ aclitem', 14),
           (1568, 'line ## box', 15), (1566, 'lseg ## line', 15), (1382, 'box <-> line', 15), (1524, 'line <-> box', 15), (970, '@@ path', 15)
), expression AS (
    SELECT CASE r.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || r.name AS object, w.ev_action::text AS tree
    FROM pg_catalog.pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE r.relkind IN ('v', 'm') AND w.rulename = '_RETURN'
    UNION ALL
    SELECT 'rule ' || r.name || '.' || pg_catalog.quote_ident(w.rulename), w.ev_action::text || w.ev_qual::text
    FROM pg_catalog.pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT 'default of column ' || r.name || '.' || pg_catalog.quote_ident(a.attname), d.adbin::text
    FROM pg_catalog.pg_attrdef d JOIN relation r ON r.oid = d.adrelid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    UNION ALL
    SELECT 'constraint ' || coalesce(r.name, t.typname) || '.' || pg_catalog.quote_ident(c.conname), c.conbin::text
    FROM pg_catalog.pg_constraint c LEFT JOIN relation r ON r.oid = c.conrelid LEFT JOIN pg_catalog.pg_type t ON t.oid = c.contypid
    WHERE c.oid >= 16384 AND c.conbin IS NOT NULL
    UNION ALL
    SELECT 'index ' || r.name, coalesce(i.indexprs::text, '') || coalesce(i.indpred::text, '')
    FROM pg_catalog.pg_index i JOIN relation r ON r.oid = i.indexrelid WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
    UNION ALL
    SELECT 'policy ' || r.name || '.' || pg_catalog.quote_ident(p.polname), coalesce(p.polqual::text, '') || coalesce(p.polwithcheck::text, '')
    FROM pg_catalog.pg_policy p JOIN relation r ON r.oid = p.polrelid
    UNION ALL
    SELECT 'trigger ' || r.name || '.' || pg_catalog.quote_ident(g.tgname), g.tgqual::text
    FROM pg_catalog.pg_trigger g JOIN relation r ON r.oid = g.tgrelid WHERE g.tgqual IS NOT NULL
), pattern AS (
    -- one expression for all, since the server keeps only some compiled
    SELECT '\y(' || pg_catalog.string_agg(name, '|') || ')\y' AS expression FROM removed_name
), hash_key (relation, name, type) AS (
    -- What tables are partitioned by the hash of, and what that is made of. An operator class of the user's hashes in its own way.
    SELECT p.partrelid, a.attname, coalesce(a.atttypid, o.opcintype)
    FROM pg_catalog.pg_partitioned_table p
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(p.partattrs::smallint[]), pg_catalog.unnest(p.partclass::oid[])) AS k(number, operator_class)
    JOIN pg_catalog.pg_opclass o ON o.oid = k.operator_class AND o.oid < 16384
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.number AND k.number > 0
    WHERE p.partstrat = 'h'
    UNION
    SELECT h.relation, h.name, component.type
    FROM hash_key h
    JOIN pg_catalog.pg_type t ON t.oid = h.type
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS type WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL
        SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
        UNION ALL -- since 14
        SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid -- since 14
        UNION ALL
        SELECT a.atttypid FROM pg_catalog.pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) component
), filled (view, relation) AS (
    -- Materialized views, and the views that each reads, directly or through others.
    SELECT r.oid, r.oid FROM relation r WHERE r.relkind = 'm'
    UNION
    SELECT f.view, v.oid
    FROM filled f
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = f.relation
    JOIN pg_catalog.pg_depend d ON d.classid = 2618 AND d.objid = w.oid AND d.refclassid = 1259
    JOIN relation v ON v.oid = d.refobjid AND v.relkind = 'v'
), calling (object, function) AS (
    -- What is built or filled, and calls which function.
    SELECT 'index ' || r.name, d.refobjid
    FROM pg_catalog.pg_depend d
    JOIN relation r ON r.oid = d.objid AND r.relkind IN ('i', 'I')
    WHERE d.classid = 1259 AND d.refclassid = 1255
    UNION
    SELECT 'materialized view ' || r.name, d.refobjid
    FROM filled
    JOIN relation r ON r.oid = filled.view
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = filled.relation
    JOIN pg_catalog.pg_depend d ON d.classid = 2618 AND d.objid = w.oid AND d.refclassid = 1255
), version AS (
    SELECT pg_catalog.current_setting('server_version_num')::integer / 10000 AS major
), searching (oid, name, names) AS (
    -- Those of the functions that look names up, and what of the users' they name without its schema, as far as their text tells.
    SELECT f.oid, f.name, (
               SELECT pg_catalog.string_agg(found.name, ', ' ORDER BY found.name)
               FROM (
                   SELECT CASE WHEN m[1] ~ '^"' THEN pg_catalog.btrim(m[1], '"') ELSE pg_catalog.lower(m[1]) END AS name
                   FROM pg_catalog.regexp_matches(f.prosrc, '\m(?:from|join|into|update|only)\s+("[^"]+"|[\w$]+)(?![\w$])(?!\s*[.(])', 'gi') AS m
                   INTERSECT
                   SELECT r.relname::text FROM relation r WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
                   UNION
                   (SELECT pg_catalog.lower(m[1]) FROM pg_catalog.regexp_matches(f.prosrc, '(?:^|[^\w$".])([\w$]+)\s*\(', 'g') AS m
                    INTERSECT
                    SELECT p.proname::text FROM pg_catalog.pg_proc p WHERE p.oid >= 16384)
               ) found
           )
    FROM routine f
    JOIN pg_catalog.pg_language l ON l.oid = f.prolang
    WHERE f.oid IN (SELECT c.function FROM calling c) AND l.lanname NOT IN ('internal', 'c')
      AND (SELECT major FROM version) < 17
      -- A body that the server keeps as a tree (14+) has no text, and looks nothing up any more.
      AND f.prosrc <> ''
      AND NOT EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) AS s(setting) WHERE s.setting ~ '^search_path=')
)
SELECT 'type' AS kind, CASE r.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'c' THEN 'type ' ELSE 'table ' END || r.name AS object,
       'column ' || pg_catalog.quote_ident(a.attname) || ' is of type ' || pg_catalog.format_type(a.atttypid, NULL) AS detail
FROM pg_catalog.pg_attribute a
JOIN relation r ON r.oid = a.attrelid
JOIN removed_type t ON t.oid = a.atttypid
WHERE NOT a.attisdropped AND r.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')
UNION ALL
SELECT CASE pg_catalog.format_type(t.oid, NULL) WHEN 'opaque' THEN 'opaque' ELSE 'type' END, 'function ' || f.name,
       'it takes or gives type ' || pg_catalog.format_type(t.oid, NULL)
FROM routine f
JOIN removed_type t ON t.oid = f.prorettype OR t.oid = ANY (f.proargtypes::oid[]) OR t.oid = ANY (f.proallargtypes)
UNION ALL
SELECT 'polymorphic', 'aggregate ' || f.name, 'it is made of ' || s.function::regprocedure::text
FROM pg_catalog.pg_aggregate a
JOIN routine f ON f.oid = a.aggfnoid
CROSS JOIN LATERAL (VALUES (a.aggtransfn::oid), (a.aggfinalfn::oid), (a.aggmtransfn::oid), (a.aggminvtransfn::oid)) AS s(function)
JOIN polymorphic p ON p.oid = s.function
WHERE (SELECT major FROM version) < 14 AND a.aggtranstype IN (2277, 2283)
UNION ALL
SELECT 'polymorphic', 'operator ' || o.oid::regoperator::text, 'it is made of ' || o.oprcode::oid::regprocedure::text
FROM pg_catalog.pg_operator o
JOIN polymorphic p ON p.oid = o.oprcode
WHERE o.oid >= 16384 AND (SELECT major FROM version) < 14
UNION ALL
SELECT 'postfix', 'operator ' || o.oid::regoperator::text, 'it stands behind its operand'
FROM pg_catalog.pg_operator o
WHERE o.oid >= 16384 AND o.oprright = 0 AND o.oprleft <> 0 AND o.oprcode <> 0
UNION ALL
SELECT 'operator', e.object, 'it uses ' || o.name || ', which is gone since version ' || o.since
FROM expression e
CROSS JOIN LATERAL (
    SELECT DISTINCT m[1]::integer AS id
    FROM pg_catalog.regexp_matches(e.tree, ':opno (388|389|970|1382|1524|1566|1568|28[67][0-9])\y', 'g') AS m
) used
JOIN removed_operator o ON o.id = used.id
WHERE (SELECT major FROM version) < 15 AND o.since > (SELECT major FROM version)
UNION ALL
SELECT DISTINCT 'oid_column', coalesce(CASE r.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || r.name,
                                       'constraint ' || o.name || '.' || pg_catalog.quote_ident(c.conname),
                                       'index ' || i.name, 'policy ' || o.name || '.' || pg_catalog.quote_ident(p.polname)),
       'it uses the hidden column oid of ' || o.name
FROM pg_catalog.pg_depend d
JOIN relation o ON o.oid = d.refobjid
LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 2618 AND w.oid = d.objid
LEFT JOIN relation r ON r.oid = w.ev_class
LEFT JOIN pg_catalog.pg_constraint c ON d.classid = 2606 AND c.oid = d.objid
LEFT JOIN relation i ON d.classid = 1259 AND i.oid = d.objid AND i.relkind IN ('i', 'I')
LEFT JOIN pg_catalog.pg_policy p ON d.classid = 3256 AND p.oid = d.objid
WHERE d.refclassid = 1259 AND d.refobjsubid = -2 AND coalesce(r.oid, c.oid, i.oid, p.oid) IS NOT NULL
UNION ALL
SELECT 'conversion', 'conversion ' || pg_catalog.format('%I.%I', n.nspname, v.conname), 'it is made of ' || f.name
FROM pg_catalog.pg_conversion v
JOIN pg_catalog.pg_namespace n ON n.oid = v.connamespace
JOIN routine f ON f.oid = v.conproc
WHERE (SELECT major FROM version) < 14
UNION ALL
SELECT 'setting', 'function ' || f.name, 'it sets ' || pg_catalog.split_part(s.setting, '=', 1)
FROM routine f
CROSS JOIN LATERAL pg_catalog.unnest(f.proconfig) AS s(setting)
WHERE pg_catalog.lower(pg_catalog.split_part(s.setting, '=', 1))
      IN ('vacuum_cleanup_index_scale_factor', 'operator_precedence_warning', 'force_parallel_mode', 'vacuum_defer_cleanup_age',
          'replacement_sort_tuples', 'old_snapshot_threshold', 'promote_trigger_file', 'trace_recovery_messages', 'lc_collate', 'lc_ctype')
   OR pg_catalog.lower(s.setting) = 'default_with_oids=on'
UNION ALL
SELECT CASE WHEN t.is_definition THEN 'name' ELSE 'name_in_body' END, t.object,
       'it names ' || n.name || ', which is gone since version ' || n.since
FROM source_text t
CROSS JOIN pattern
CROSS JOIN LATERAL (SELECT DISTINCT m[1] AS name FROM pg_catalog.regexp_matches(t.body, pattern.expression, 'g') AS m) found
JOIN removed_name n ON n.name = found.name
WHERE n.since > (SELECT major FROM version)
UNION ALL
SELECT 'word_in_body', t.object, 'it names system_user'
FROM source_text t
WHERE NOT t.is_definition AND (SELECT major FROM version) < 16
  -- neither quoted nor behind a dot
  AND t.body ~* '(^|[^\w$."])system_user($|[^\w$"])'
UNION ALL -- since 12
SELECT CASE a.attgenerated WHEN '' THEN 'generated_parent' ELSE 'generated_child' END, 'table ' || c.name, -- since 12
       CASE a.attgenerated WHEN '' THEN 'column ' || pg_catalog.quote_ident(a.attname) || ' is not generated, and it is in its parent ' || p.name -- since 12
            ELSE 'column ' || pg_catalog.quote_ident(a.attname) || ' is generated, and it is not in its parent ' || p.name END -- since 12
FROM pg_catalog.pg_inherits i -- since 12
JOIN relation c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f') -- since 12
JOIN relation p ON p.oid = i.inhparent -- since 12
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped -- since 12
JOIN pg_catalog.pg_attribute b ON b.attrelid = p.oid AND b.attname = a.attname AND NOT b.attisdropped -- since 12
WHERE (a.attgenerated = '') <> (b.attgenerated = '') -- since 12
UNION ALL
SELECT 'nullable_child', 'table ' || c.name,
       'column ' || pg_catalog.quote_ident(a.attname) || ' may be null, and not in its parent ' || p.name
FROM pg_catalog.pg_inherits i
JOIN relation c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'f')
JOIN relation p ON p.oid = i.inhparent
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attnotnull
JOIN pg_catalog.pg_attribute b ON b.attrelid = p.oid AND b.attname = a.attname AND NOT b.attisdropped AND b.attnotnull
UNION ALL
-- labels of enums (anyenum where the key is an expression), and names of objects: the types regproc to regnamespace
SELECT DISTINCT 'hash', 'table ' || r.name,
       'it is partitioned by the hash of ' || coalesce(pg_catalog.quote_ident(k.name), 'an expression') || ', which '
       || CASE t.typtype WHEN 'b' THEN 'names objects: ' ELSE 'is or has an enum: ' END || pg_catalog.format_type(t.oid, NULL)
FROM hash_key k
JOIN relation r ON r.oid = k.relation
JOIN pg_catalog.pg_type t ON t.oid = k.type
WHERE t.typtype = 'e' OR t.oid IN (3500, 24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191)
UNION ALL
SELECT CASE WHEN f.names IS NULL THEN 'search_path' ELSE 'search_path_names' END, c.object,
       'it calls function ' || f.name || ', whose search_path is not set'
       || coalesce(', and which names ' || f.names || ' without a schema', '')
FROM calling c
JOIN searching f ON f.oid = c.function
ORDER BY 1, 2, 3
