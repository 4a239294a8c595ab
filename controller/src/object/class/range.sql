-- Range types.
SELECT t.oid, n.nspname::text AS schema, t.typname::text AS name, pg_catalog.pg_get_userbyid(t.typowner)::text AS owner,
       pg_catalog.format_type(r.rngsubtype, NULL) AS subtype,
       CASE WHEN NOT opc.opcdefault THEN opcn.nspname::text END AS opclass_schema,
       CASE WHEN NOT opc.opcdefault THEN opc.opcname::text END AS opclass_name,
       CASE WHEN r.rngcollation <> st.typcollation THEN cn.nspname::text END AS collation_schema,
       CASE WHEN r.rngcollation <> st.typcollation THEN co.collname::text END AS collation_name,
       diffn.nspname::text AS difference_schema, diff.proname::text AS difference_name,
       canonn.nspname::text AS canonical_schema, canon.proname::text AS canonical_name,
       mn.nspname::text AS multirange_schema, pg_catalog.namesend(mt.typname) AS multirange_name, r.rngmultitypid AS multirange -- since 14
       -- before 14: NULL::text AS multirange_schema, NULL::bytea AS multirange_name, 0::oid AS multirange
FROM pg_catalog.pg_range r
JOIN pg_catalog.pg_type t ON t.oid = r.rngtypid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
JOIN pg_catalog.pg_type st ON st.oid = r.rngsubtype
JOIN pg_catalog.pg_opclass opc ON opc.oid = r.rngsubopc
JOIN pg_catalog.pg_namespace opcn ON opcn.oid = opc.opcnamespace
LEFT JOIN pg_catalog.pg_collation co ON co.oid = r.rngcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
LEFT JOIN pg_catalog.pg_proc diff ON diff.oid = r.rngsubdiff
LEFT JOIN pg_catalog.pg_namespace diffn ON diffn.oid = diff.pronamespace
LEFT JOIN pg_catalog.pg_proc canon ON canon.oid = r.rngcanonical
LEFT JOIN pg_catalog.pg_namespace canonn ON canonn.oid = canon.pronamespace
LEFT JOIN pg_catalog.pg_type mt ON mt.oid = r.rngmultitypid -- since 14
LEFT JOIN pg_catalog.pg_namespace mn ON mn.oid = mt.typnamespace -- since 14
WHERE t.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
