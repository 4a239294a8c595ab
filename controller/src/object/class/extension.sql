-- Extensions that initdb did not install.
SELECT e.oid, e.extname::text AS name, n.nspname::text AS schema,
       ARRAY(SELECT c.oid::regclass::text FROM pg_catalog.unnest(e.extconfig) AS u(oid) JOIN pg_catalog.pg_class c ON c.oid = u.oid
             WHERE c.relkind <> 'S' ORDER BY 1) AS configuration
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.oid >= 16384
