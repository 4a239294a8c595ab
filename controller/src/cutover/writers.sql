-- Sessions of the connected database that have written in their transaction, in words.
SELECT string_agg(format('pid %s of %s (%s)', pid, usename, application_name), ', ')
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_catalog.pg_backend_pid() AND backend_xid IS NOT NULL
