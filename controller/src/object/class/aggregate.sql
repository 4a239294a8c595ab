-- Aggregates. Functions and operators are given as schema and name; 0 means none.
SELECT p.oid, n.nspname::text AS schema, p.proname::text AS name, pg_catalog.pg_get_userbyid(p.proowner)::text AS owner,
       pg_catalog.pg_get_function_arguments(p.oid) AS arguments,
       pg_catalog.pg_get_function_identity_arguments(p.oid) AS identity_arguments, pg_catalog.oidvectortypes(p.proargtypes) AS types,
       a.aggkind::text AS kind, p.proparallel::text AS parallel,
       pg_catalog.format_type(a.aggtranstype, NULL) AS state_type, a.aggtransspace AS state_size, a.agginitval AS initial,
       CASE WHEN a.aggmtranstype <> 0 THEN pg_catalog.format_type(a.aggmtranstype, NULL) END AS moving_state_type,
       a.aggmtransspace AS moving_state_size, a.aggminitval AS moving_initial,
       a.aggfinalextra AS final_extra, a.aggmfinalextra AS moving_final_extra,
       a.aggfinalmodify::text AS final_modify, a.aggmfinalmodify::text AS moving_final_modify, -- since 11
       -- before 11: CASE a.aggkind WHEN 'n' THEN 'r' ELSE 'w' END AS final_modify, CASE a.aggkind WHEN 'n' THEN 'r' ELSE 'w' END AS moving_final_modify,
       ARRAY(SELECT fn.nspname::text FROM pg_catalog.unnest(f.oids) WITH ORDINALITY AS u(oid, n)
             LEFT JOIN pg_catalog.pg_proc fp ON fp.oid = u.oid LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = fp.pronamespace ORDER BY u.n) AS function_schemas,
       ARRAY(SELECT fp.proname::text FROM pg_catalog.unnest(f.oids) WITH ORDINALITY AS u(oid, n)
             LEFT JOIN pg_catalog.pg_proc fp ON fp.oid = u.oid ORDER BY u.n) AS function_names,
       sn.nspname::text AS sort_schema, so.oprname::text AS sort_name
FROM pg_catalog.pg_aggregate a
JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_catalog.pg_operator so ON so.oid = a.aggsortop
LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = so.oprnamespace
CROSS JOIN LATERAL (
    -- in the order of FUNCTIONS in aggregate.rs
    SELECT ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                 a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[] AS oids
) f
WHERE p.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
