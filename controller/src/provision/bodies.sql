-- Functions whose body is text that the server can judge, with the function of their language that does it. Not those of extensions, and
-- none of a language that only superusers may use: judging such a body may run it. Nor of one whose validator is itself written in such a
-- language: what it does could be changed by its owner, and would be done as whoever asks. $1: only these, unless it is null.
SELECT p.oid, p.oid::pg_catalog.regprocedure::text AS name, n.nspname::text AS schema,
       pg_catalog.format('%I.%I', vn.nspname, v.proname) AS validator,
       (SELECT pg_catalog.substr(s.setting, 13) FROM pg_catalog.unnest(p.proconfig) AS s(setting)
        WHERE s.setting ~ '^search_path=') AS search_path
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanpltrusted
JOIN pg_catalog.pg_proc v ON v.oid = l.lanvalidator AND v.prolang IN (12, 13) -- internal, C
JOIN pg_catalog.pg_namespace vn ON vn.oid = v.pronamespace
WHERE p.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND ($1::text[] IS NULL OR p.oid::pg_catalog.regprocedure::text = ANY ($1))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
ORDER BY name
