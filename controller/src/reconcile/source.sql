-- How far the source has written, and its prepared transactions in the connected database.
SELECT pg_catalog.pg_current_wal_lsn() AS lsn,
       ARRAY(SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()) AS prepared
