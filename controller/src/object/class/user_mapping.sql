-- User mappings. Only superusers, and owners where they may, see the options.
SELECT u.umid AS oid, CASE WHEN u.umuser <> 0 THEN u.usename::text END AS role, u.srvname::text AS server, u.srvid AS server_oid,
       u.umoptions::text[] AS options,
       (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AS sees_all
FROM pg_catalog.pg_user_mappings u
WHERE u.umuser = 0 OR u.usename IS NOT NULL
