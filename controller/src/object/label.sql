-- Security labels on objects made after initdb, and on the public schema.
SELECT l.classoid AS catalog, l.objoid AS oid, l.objsubid AS column_number, l.provider, l.label AS text
FROM pg_catalog.pg_seclabel l
WHERE l.objoid >= 16384 OR l.classoid = 2613 OR (l.classoid = 2615 AND l.objoid = 2200)
ORDER BY 1, 2, 3, 4
