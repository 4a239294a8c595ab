-- ALTER ROLE … SET, for all databases (database is null) or for one.
SELECT r.rolname::text AS role,
       d.datname::text AS database,
       s.setconfig AS settings
FROM pg_catalog.pg_db_role_setting s
JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
WHERE s.setdatabase = 0 OR d.oid IS NOT NULL
ORDER BY 1, 2 NULLS FIRST
