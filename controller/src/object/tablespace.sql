-- Relations that are in another tablespace than their database's own.
SELECT c.oid, t.spcname::text AS tablespace
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
WHERE c.relkind IN ('r', 'p', 'i', 'I', 'm') AND c.oid >= 16384 AND c.relpersistence <> 't'
