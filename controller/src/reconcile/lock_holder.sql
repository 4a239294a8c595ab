-- Whether a session other than $2 holds the lock of the mapping $1 in the connected control database (see try_lock). The key of an advisory
-- lock is shown in two halves.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> $2::integer
      AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND (classid::bigint << 32) | objid::bigint = pg_catalog.hashtextextended('pg-migrator mapping ' || $1::text, 0))
