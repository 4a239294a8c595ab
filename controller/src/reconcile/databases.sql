-- The databases that can be connected to, but the templates of every instance.
SELECT oid, datname FROM pg_catalog.pg_database
WHERE datallowconn AND datname NOT IN ('template0', 'template1') ORDER BY datname
