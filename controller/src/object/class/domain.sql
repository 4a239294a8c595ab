-- Domains; their checks are read with those of tables.
SELECT t.oid, n.nspname::text AS schema, t.typname::text AS name, pg_catalog.pg_get_userbyid(t.typowner)::text AS owner,
       pg_catalog.format_type(t.typbasetype, t.typtypmod) AS base_type, t.typnotnull AS not_null,
       nn.oid AS not_null_oid, nn.conname::text AS not_null_name, -- since 17
       -- before 17: NULL::oid AS not_null_oid, NULL::text AS not_null_name,
       pg_catalog.pg_get_expr(t.typdefaultbin, 'pg_catalog.pg_type'::regclass) AS default_expression,
       CASE WHEN t.typcollation <> base.typcollation THEN co.collname::text END AS collation_name,
       CASE WHEN t.typcollation <> base.typcollation THEN cn.nspname::text END AS collation_schema
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
JOIN pg_catalog.pg_type base ON base.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_constraint nn ON nn.contypid = t.oid AND nn.contype = 'n' -- since 17
LEFT JOIN pg_catalog.pg_collation co ON co.oid = t.typcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
WHERE t.oid >= 16384 AND t.typtype = 'd' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
