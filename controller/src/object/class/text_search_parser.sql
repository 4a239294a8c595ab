-- Text search parsers.
SELECT p.oid, n.nspname::text AS schema, p.prsname::text AS name,
       p.prsstart::oid::regproc::text AS start, p.prstoken::oid::regproc::text AS token, p.prsend::oid::regproc::text AS finish,
       CASE WHEN p.prsheadline <> 0 THEN p.prsheadline::oid::regproc::text END AS headline, p.prslextype::oid::regproc::text AS lextypes
FROM pg_catalog.pg_ts_parser p JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
WHERE p.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
