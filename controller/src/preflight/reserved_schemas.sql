-- Schemas with names that the server keeps for itself, but for those that it makes for temporary objects.
SELECT n.nspname::text AS name FROM pg_catalog.pg_namespace n
WHERE n.oid >= 16384 AND n.nspname ~ '^pg_' AND n.nspname !~ '^pg_(toast_)?temp_[0-9]+$' ORDER BY 1
