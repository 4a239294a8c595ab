-- Sequences. Those of identity columns are made by their table; here they only lend their options and their name.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       pg_catalog.format_type(s.seqtypid, NULL) AS data_type, s.seqstart AS start, s.seqincrement AS increment,
       s.seqmin AS minimum, s.seqmax AS maximum, s.seqcache AS cache, s.seqcycle AS cycle,
       c.relpersistence = 'u' AS unlogged, coalesce(owner_class.relpersistence = 'u', false) AS owner_unlogged,
       d.deptype = 'i' AS is_identity,
       owner_class.oid AS owner_oid, owner_class.relname::text AS owner_table, owner_namespace.nspname::text AS owner_schema,
       a.attname::text AS owner_column, d.refobjsubid AS owner_number
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 1259 AND d.objid = c.oid AND d.objsubid = 0
                                AND d.refclassid = 1259 AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_catalog.pg_class owner_class ON owner_class.oid = d.refobjid
LEFT JOIN pg_catalog.pg_namespace owner_namespace ON owner_namespace.oid = owner_class.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE c.relkind = 'S' AND c.oid >= 16384 AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
