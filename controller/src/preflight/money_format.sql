-- Which lc_monetary the apply worker will have, which runs as our role, in the database that is to be made: the role's own, the one that the
-- database brings along ($1), or the server's.
SELECT coalesce((SELECT pg_catalog.substr(s.setting, 13)
                 FROM pg_catalog.pg_db_role_setting r CROSS JOIN LATERAL pg_catalog.unnest(r.setconfig) AS s(setting)
                 WHERE r.setdatabase = 0 AND r.setrole = current_user::pg_catalog.regrole AND s.setting ~ '^lc_monetary='),
                $1::text, p.reset_val) AS lc_monetary
FROM pg_catalog.pg_settings p WHERE p.name = 'lc_monetary'
