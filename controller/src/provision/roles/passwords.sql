-- Password hashes; for superusers, and whom they gave SELECT on pg_authid.
SELECT a.oid, a.rolpassword AS password
FROM pg_catalog.pg_authid a
WHERE a.rolpassword IS NOT NULL
