-- Functions, procedures and window functions, without those that a type made (range constructors).
SELECT p.oid, n.nspname::text AS schema, p.proname::text AS name, pg_catalog.pg_get_userbyid(p.proowner)::text AS owner,
       pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments, pg_catalog.oidvectortypes(p.proargtypes) AS types,
       p.prokind = 'p' AS is_procedure, -- since 11
       -- before 11: false AS is_procedure,
       pg_catalog.pg_get_functiondef(p.oid) AS definition
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid >= 16384
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND p.prokind <> 'a' -- since 11
  -- before 11: AND NOT p.proisagg
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
