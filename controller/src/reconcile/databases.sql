-- The databases that can be connected to, but the templates of every instance. One with the limit -2 is left from a DROP DATABASE that was interrupted.
SELECT oid, datname FROM pg_catalog.pg_database
WHERE datallowconn AND datconnlimit <> -2 AND datname NOT IN ('template0', 'template1') ORDER BY datname
