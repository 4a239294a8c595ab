-- Every role but the predefined ones (pg_…). Any role may read this; the passwords are in passwords.sql.
SELECT r.oid,
       r.rolname::text AS name,
       r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls,
       r.rolconnlimit,
       r.rolvaliduntil::text AS valid_until,
       pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment,
       ARRAY(SELECT l.provider FROM pg_catalog.pg_shseclabel l
             WHERE l.objoid = r.oid AND l.classoid = 'pg_catalog.pg_authid'::regclass ORDER BY 1)::text[] AS label_providers,
       ARRAY(SELECT l.label FROM pg_catalog.pg_shseclabel l
             WHERE l.objoid = r.oid AND l.classoid = 'pg_catalog.pg_authid'::regclass ORDER BY l.provider)::text[] AS labels
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'
ORDER BY r.rolname
