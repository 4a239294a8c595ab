-- Security labels on objects made after initdb, and on the public schema. Subscriptions are kept where all databases see them, and so are their
-- labels; those of other databases' subscriptions belong to no object that was read.
SELECT l.classoid AS catalog, l.objoid AS oid, l.objsubid AS column_number, l.provider, l.label AS text
FROM pg_catalog.pg_seclabel l
WHERE l.objoid >= 16384 OR l.classoid = 2613 OR (l.classoid = 2615 AND l.objoid = 2200)
UNION ALL
SELECT s.classoid, s.objoid, 0, s.provider, s.label
FROM pg_catalog.pg_shseclabel s
WHERE s.classoid = 6100
ORDER BY 1, 2, 3, 4
