-- Materialized views.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       c.reloptions::text[] AS options, toast.reloptions::text[] AS toast_options,
       r.oid AS rule_oid, pg_catalog.pg_get_viewdef(c.oid) AS definition,
       c.relispopulated AS populated,
       CASE WHEN am.amname <> 'heap' THEN am.amname::text END AS access_method -- since 12
       -- before 12: NULL::text AS access_method
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind = 'm' AND c.oid >= 16384
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
