-- Whether the connected database holds anything that initdb or an extension did not put there, and which extensions it has.
WITH members AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.oid >= 16384 AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
                 AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = c.oid))
    OR EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
                 AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objid = p.oid))
    OR EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
               WHERE t.oid >= 16384 AND n.nspname NOT LIKE 'pg\_%' AND t.typrelid = 0 AND t.typelem = 0
                 AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND objid = t.oid))
    OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.oid >= 16384 AND nspname NOT LIKE 'pg\_%'
                 AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND objid = n.oid))
    OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata) AS inhabited,
       ARRAY(SELECT extname::text FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1) AS extensions
