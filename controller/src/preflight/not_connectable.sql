-- Databases that nobody can connect to; those that a DROP DATABASE left behind are invalid.
SELECT d.datname::text AS name, d.datconnlimit = -2 AS invalid FROM pg_catalog.pg_database d
WHERE d.datname <> 'template0' AND (NOT d.datallowconn OR d.datconnlimit = -2) ORDER BY 1
