-- The name that a database has now: the first that is there of those with the OIDs $1, or the one called $2 if no OID is known.
SELECT datname::text FROM pg_catalog.pg_database
WHERE oid = ANY ($1::oid[]) OR (datname = $2 AND cardinality($1::oid[]) = 0)
ORDER BY array_position($1::oid[], oid) LIMIT 1
