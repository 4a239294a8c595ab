-- Settings that hold for every role in every database: ALTER ROLE ALL SET.
SELECT pg_catalog.unnest(s.setconfig) AS setting FROM pg_catalog.pg_db_role_setting s
WHERE s.setrole = 0 AND s.setdatabase = 0
