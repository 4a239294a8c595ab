-- Foreign data wrappers.
SELECT w.oid, w.fdwname::text AS name, pg_catalog.pg_get_userbyid(w.fdwowner)::text AS owner,
       CASE WHEN w.fdwhandler <> 0 THEN w.fdwhandler::regproc::text END AS handler,
       CASE WHEN w.fdwvalidator <> 0 THEN w.fdwvalidator::regproc::text END AS validator,
       w.fdwoptions::text[] AS options
FROM pg_catalog.pg_foreign_data_wrapper w
WHERE w.oid >= 16384
