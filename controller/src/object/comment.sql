-- Comments on objects made after initdb, and on the public schema.
SELECT d.classoid AS catalog, d.objoid AS oid, d.objsubid AS column_number, d.description AS text
FROM pg_catalog.pg_description d
WHERE d.objoid >= 16384 OR d.classoid = 2613 OR (d.classoid = 2615 AND d.objoid = 2200)
ORDER BY 1, 2, 3
