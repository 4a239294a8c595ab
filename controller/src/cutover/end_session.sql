-- Ends the session $1 if its application name is $2; gives a row as long as there is one.
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2
