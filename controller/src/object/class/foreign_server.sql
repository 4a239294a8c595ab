-- Foreign servers.
SELECT s.oid, s.srvname::text AS name, pg_catalog.pg_get_userbyid(s.srvowner)::text AS owner, w.fdwname::text AS wrapper,
       s.srvtype AS type, s.srvversion AS version, s.srvoptions::text[] AS options
FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
WHERE s.oid >= 16384
