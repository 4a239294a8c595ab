-- What tablespaces have beside their place: options, who else may create in them (an empty name is PUBLIC), comment, security labels.
SELECT t.spcname::text AS name,
       pg_catalog.shobj_description(t.oid, 'pg_tablespace') AS comment,
       COALESCE(t.spcoptions, '{}') AS options,
       ARRAY(SELECT COALESCE(r.rolname::text, '') FROM pg_catalog.aclexplode(t.spcacl) a
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
             WHERE a.grantee <> t.spcowner ORDER BY a.grantee, a.is_grantable) AS grantees,
       ARRAY(SELECT a.is_grantable FROM pg_catalog.aclexplode(t.spcacl) a
             WHERE a.grantee <> t.spcowner ORDER BY a.grantee, a.is_grantable) AS grantable,
       ARRAY(SELECT l.provider FROM pg_catalog.pg_shseclabel l
             WHERE l.objoid = t.oid AND l.classoid = 'pg_catalog.pg_tablespace'::pg_catalog.regclass ORDER BY 1)::text[] AS label_providers,
       ARRAY(SELECT l.label FROM pg_catalog.pg_shseclabel l
             WHERE l.objoid = t.oid AND l.classoid = 'pg_catalog.pg_tablespace'::pg_catalog.regclass ORDER BY l.provider)::text[] AS labels
FROM pg_catalog.pg_tablespace t
