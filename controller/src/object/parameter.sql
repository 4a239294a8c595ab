-- Privileges on settings, of the whole instance; since 15.
SELECT p.parname AS name, owner.rolname::text AS owner,
       item.grantors, item.grantees, item.privileges, item.grantable, item.defaults
FROM pg_catalog.pg_parameter_acl p
JOIN pg_catalog.pg_roles owner ON owner.oid = 10
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(grantor.rolname::text ORDER BY i.is_default DESC, i.n) AS grantors,
           pg_catalog.array_agg(coalesce(grantee.rolname::text, '') ORDER BY i.is_default DESC, i.n) AS grantees,
           pg_catalog.array_agg(i.privilege ORDER BY i.is_default DESC, i.n) AS privileges,
           pg_catalog.array_agg(i.grantable ORDER BY i.is_default DESC, i.n) AS grantable,
           pg_catalog.array_agg(i.is_default ORDER BY i.is_default DESC, i.n) AS defaults
    FROM (
        SELECT true AS is_default, b.* FROM pg_catalog.aclexplode(pg_catalog.acldefault('p', owner.oid))
            WITH ORDINALITY AS b(grantor, grantee, privilege, grantable, n)
        UNION ALL
        SELECT false, a.* FROM pg_catalog.aclexplode(p.paracl) WITH ORDINALITY AS a(grantor, grantee, privilege, grantable, n)
    ) i
    JOIN pg_catalog.pg_roles grantor ON grantor.oid = i.grantor
    LEFT JOIN pg_catalog.pg_roles grantee ON grantee.oid = i.grantee
    WHERE i.grantee = 0 OR grantee.oid IS NOT NULL
) item
WHERE item.grantors IS NOT NULL
ORDER BY p.parname
