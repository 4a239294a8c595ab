-- Extended statistics.
SELECT s.oid, n.nspname::text AS schema, s.stxname::text AS name, pg_catalog.pg_get_userbyid(s.stxowner)::text AS owner,
       s.stxrelid AS relation, c.relname::text AS table_name, pg_catalog.pg_get_statisticsobjdef(s.oid) AS definition,
       CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget::integer END AS target -- since 13
       -- before 13: NULL::integer AS target
FROM pg_catalog.pg_statistic_ext s
JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid
WHERE s.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
