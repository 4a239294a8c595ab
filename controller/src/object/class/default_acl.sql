-- Default privileges: of a role in the whole database they replace the built-in ones, in a schema they add to them.
SELECT d.oid, r.rolname::text AS role, n.nspname::text AS schema, d.defaclobjtype::text AS kind,
       item.grantors, item.grantees, item.privileges, item.grantable, item.defaults
FROM pg_catalog.pg_default_acl d
JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(grantor.rolname::text ORDER BY i.is_default DESC, i.n) AS grantors,
           pg_catalog.array_agg(coalesce(grantee.rolname::text, '') ORDER BY i.is_default DESC, i.n) AS grantees,
           pg_catalog.array_agg(i.privilege ORDER BY i.is_default DESC, i.n) AS privileges,
           pg_catalog.array_agg(i.grantable ORDER BY i.is_default DESC, i.n) AS grantable,
           pg_catalog.array_agg(i.is_default ORDER BY i.is_default DESC, i.n) AS defaults
    FROM (
        SELECT true AS is_default, b.*
        FROM pg_catalog.aclexplode(pg_catalog.acldefault(
                 CASE WHEN d.defaclnamespace <> 0 THEN 'c' WHEN d.defaclobjtype = 'S' THEN 's' ELSE d.defaclobjtype END::"char", d.defaclrole))
             WITH ORDINALITY AS b(grantor, grantee, privilege, grantable, n)
        UNION ALL
        SELECT false, a.* FROM pg_catalog.aclexplode(d.defaclacl) WITH ORDINALITY AS a(grantor, grantee, privilege, grantable, n)
    ) i
    JOIN pg_catalog.pg_roles grantor ON grantor.oid = i.grantor
    LEFT JOIN pg_catalog.pg_roles grantee ON grantee.oid = i.grantee
    WHERE i.grantee = 0 OR grantee.oid IS NOT NULL
) item
WHERE item.grantors IS NOT NULL
