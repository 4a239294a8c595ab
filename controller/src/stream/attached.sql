-- The tables that the subscription with the OID $1 knows.
SELECT n.nspname, c.relname, r.srsubstate::text, r.srsublsn
FROM pg_catalog.pg_subscription_rel r
JOIN pg_catalog.pg_class c ON c.oid = r.srrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.srsubid = $1
