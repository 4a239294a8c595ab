-- What our user may do on a source, and whom a managed service lets replicate instead of REPLICATION.
SELECT current_user::text AS name,
       r.rolsuper AS superuser,
       r.rolreplication OR EXISTS (
           SELECT FROM pg_catalog.pg_roles s
           WHERE s.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, s.oid, 'MEMBER')) AS replication,
       pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS reads_passwords
FROM pg_catalog.pg_roles r
WHERE r.rolname = current_user
