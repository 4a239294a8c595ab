-- Languages that initdb did not install. Before 13 a known language could be made without its extension: then its handler is in
-- pg_catalog, and the destination makes it with its extension.
SELECT l.oid, l.lanname::text AS name, pg_catalog.pg_get_userbyid(l.lanowner)::text AS owner, l.lanpltrusted AS trusted,
       CASE WHEN n.nspname <> 'pg_catalog' OR p.oid < 16384 THEN p.oid::regproc::text END AS handler,
       CASE WHEN l.laninline <> 0 THEN l.laninline::regproc::text END AS inline_handler,
       CASE WHEN l.lanvalidator <> 0 THEN l.lanvalidator::regproc::text END AS validator
FROM pg_catalog.pg_language l
LEFT JOIN pg_catalog.pg_proc p ON p.oid = l.lanplcallfoid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE l.oid >= 16384 AND l.lanispl
