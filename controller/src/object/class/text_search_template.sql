-- Text search templates.
SELECT t.oid, n.nspname::text AS schema, t.tmplname::text AS name,
       CASE WHEN t.tmplinit <> 0 THEN t.tmplinit::oid::regproc::text END AS init, t.tmpllexize::oid::regproc::text AS lexize
FROM pg_catalog.pg_ts_template t JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
WHERE t.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
