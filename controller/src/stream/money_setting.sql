-- Which lc_monetary a session of this role in this database begins with, and which one the role has of its own here.
SELECT current_user::text AS role, d.oid AS database, p.reset_val AS lc_monetary,
       (SELECT pg_catalog.substr(s.setting, 13)
        FROM pg_catalog.pg_db_role_setting r CROSS JOIN LATERAL pg_catalog.unnest(r.setconfig) AS s(setting)
        WHERE r.setdatabase = d.oid AND r.setrole = current_user::pg_catalog.regrole AND s.setting ~ '^lc_monetary=') AS own
FROM pg_catalog.pg_settings p, pg_catalog.pg_database d
WHERE p.name = 'lc_monetary' AND d.datname = pg_catalog.current_database()
