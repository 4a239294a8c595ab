-- Who has a value of the parameter $1 that holds in the connected database: the database itself (no role), with its value, and the roles that have
-- one here or everywhere, with the value that is theirs here.
WITH settings AS (
    SELECT s.setdatabase, s.setrole, split_part(c, '=', 2) AS value
    FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) c WHERE split_part(c, '=', 1) = $1),
here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
SELECT NULL::text AS role, (SELECT value FROM settings, here WHERE setdatabase = here.oid AND setrole = 0) AS previous
UNION ALL
SELECT DISTINCT r.rolname::text, (SELECT value FROM settings s2 WHERE s2.setdatabase = here.oid AND s2.setrole = r.oid)
FROM here, settings s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase IN (0, here.oid)
