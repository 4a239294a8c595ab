-- Every database that can be connected to, but template0. Columns that came with later versions are read through to_jsonb():
-- datlocprovider, datcollversion and daticulocale are of 15, daticurules of 16, and datlocale took daticulocale's place in 17.
SELECT d.oid,
       d.datname::text AS name,
       pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
       pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
       d.datcollate::text AS collate,
       d.datctype::text AS ctype,
       COALESCE(j.row ->> 'datlocprovider', 'c') AS provider,
       COALESCE(j.row ->> 'datlocale', j.row ->> 'daticulocale') AS locale,
       j.row ->> 'daticurules' AS icu_rules,
       j.row ->> 'datcollversion' AS collation_version,
       d.datconnlimit AS connection_limit,
       d.datistemplate AS is_template,
       d.datacl IS NULL OR d.datacl = pg_catalog.acldefault('d', d.datdba) AS default_acl,
       (SELECT t.spcname::text FROM pg_catalog.pg_tablespace t WHERE t.oid = d.dattablespace AND t.spcname <> 'pg_default') AS tablespace,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
       COALESCE((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid AND s.setrole = 0), '{}') AS settings,
       ARRAY(SELECT l.provider FROM pg_catalog.pg_shseclabel l
             WHERE l.objoid = d.oid AND l.classoid = 'pg_catalog.pg_database'::regclass ORDER BY 1)::text[] AS label_providers,
       ARRAY(SELECT l.label FROM pg_catalog.pg_shseclabel l
             WHERE l.objoid = d.oid AND l.classoid = 'pg_catalog.pg_database'::regclass ORDER BY l.provider)::text[] AS labels
FROM pg_catalog.pg_database d
CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(d)) AS j (row)
WHERE d.datallowconn AND d.datname <> 'template0'
ORDER BY d.datname
