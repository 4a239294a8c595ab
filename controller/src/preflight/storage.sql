-- Tables whose rows another access method than the server's own keeps. Before 12 no table has one.
SELECT c.oid::pg_catalog.regclass::text AS relation, am.amname::text AS access_method
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_am am ON am.oid = c.relam
JOIN pg_catalog.pg_proc p ON p.oid = am.amhandler
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384
  AND p.proname <> 'heap_tableam_handler'
ORDER BY 1
