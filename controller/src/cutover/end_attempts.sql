-- Ends the other sessions of the application name $1 in the connected database; gives one row for each.
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND pid <> pg_catalog.pg_backend_pid()
