-- What the subscription with the OID $1 reads, and how far it has applied it.
SELECT s.subpublications, COALESCE(o.remote_lsn, '0/0') AS applied
FROM pg_catalog.pg_subscription s
LEFT JOIN pg_catalog.pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
WHERE s.oid = $1
