-- Rules that a user made.
SELECT r.oid, n.nspname::text AS schema, c.relname::text AS table_name, c.oid AS relation, r.rulename::text AS name,
       pg_catalog.pg_get_ruledef(r.oid) AS definition, r.ev_enabled::text AS state
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.oid >= 16384 AND r.rulename <> '_RETURN' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
