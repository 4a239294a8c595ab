-- The database of the subscription $1: the one with the OID $2, or, if that is not known, the one called $3.
SELECT d.datname::text FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE s.subname = $1 AND (d.oid = $2::oid OR $2 IS NULL AND d.datname = $3)
