-- Operators that are more than a name some other operator mentions.
SELECT o.oid, n.nspname::text AS schema, o.oprname::text AS name, pg_catalog.pg_get_userbyid(o.oprowner)::text AS owner,
       CASE WHEN o.oprleft <> 0 THEN pg_catalog.format_type(o.oprleft, NULL) END AS left_type,
       CASE WHEN o.oprright <> 0 THEN pg_catalog.format_type(o.oprright, NULL) END AS right_type,
       fn.nspname::text AS function_schema, f.proname::text AS function_name,
       cn.nspname::text AS commutator_schema, c.oprname::text AS commutator_name,
       nn.nspname::text AS negator_schema, ng.oprname::text AS negator_name,
       rn.nspname::text AS restrict_schema, r.proname::text AS restrict_name,
       jn.nspname::text AS join_schema, j.proname::text AS join_name,
       o.oprcanhash AS hashes, o.oprcanmerge AS merges
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_catalog.pg_proc f ON f.oid = o.oprcode
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
LEFT JOIN pg_catalog.pg_operator c ON c.oid = o.oprcom
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.oprnamespace
LEFT JOIN pg_catalog.pg_operator ng ON ng.oid = o.oprnegate
LEFT JOIN pg_catalog.pg_namespace nn ON nn.oid = ng.oprnamespace
LEFT JOIN pg_catalog.pg_proc r ON r.oid = o.oprrest
LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.pronamespace
LEFT JOIN pg_catalog.pg_proc j ON j.oid = o.oprjoin
LEFT JOIN pg_catalog.pg_namespace jn ON jn.oid = j.pronamespace
WHERE o.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
