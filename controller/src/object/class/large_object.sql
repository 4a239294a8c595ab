-- Large objects, those of one owner and the same privileges together, a few at a time.
SELECT bundle.owner, bundle.oids[1] AS oid, bundle.oids,
       -- those that have a comment or label of their own
       ARRAY(SELECT pg_catalog.unnest(bundle.oids)
             INTERSECT (SELECT d.objoid FROM pg_catalog.pg_description d WHERE d.classoid = 2613
                        UNION SELECT l.objoid FROM pg_catalog.pg_seclabel l WHERE l.classoid = 2613)) AS described,
       item.grantors, item.grantees, item.privileges, item.grantable, item.defaults
FROM (
    SELECT numbered.lomowner, pg_catalog.pg_get_userbyid(numbered.lomowner)::text AS owner, numbered.acl,
           pg_catalog.array_agg(numbered.oid ORDER BY numbered.oid) AS oids
    FROM (
        SELECT m.oid, m.lomowner, m.lomacl::text[] AS acl,
               (pg_catalog.row_number() OVER (PARTITION BY m.lomowner, m.lomacl::text[] ORDER BY m.oid) - 1) / 20 AS part
        FROM pg_catalog.pg_largeobject_metadata m
    ) numbered
    GROUP BY numbered.lomowner, numbered.acl, numbered.part
) bundle
CROSS JOIN LATERAL (
    SELECT coalesce(pg_catalog.array_agg(grantor.rolname::text ORDER BY i.is_default DESC, i.n), '{}') AS grantors,
           coalesce(pg_catalog.array_agg(coalesce(grantee.rolname::text, '') ORDER BY i.is_default DESC, i.n), '{}') AS grantees,
           coalesce(pg_catalog.array_agg(i.privilege ORDER BY i.is_default DESC, i.n), '{}') AS privileges,
           coalesce(pg_catalog.array_agg(i.grantable ORDER BY i.is_default DESC, i.n), '{}') AS grantable,
           coalesce(pg_catalog.array_agg(i.is_default ORDER BY i.is_default DESC, i.n), '{}') AS defaults
    FROM (
        SELECT true AS is_default, b.* FROM pg_catalog.aclexplode(pg_catalog.acldefault('L', bundle.lomowner))
            WITH ORDINALITY AS b(grantor, grantee, privilege, grantable, n)
        WHERE bundle.acl IS NOT NULL
        UNION ALL
        SELECT false, a.* FROM pg_catalog.aclexplode(bundle.acl::aclitem[])
            WITH ORDINALITY AS a(grantor, grantee, privilege, grantable, n)
    ) i
    JOIN pg_catalog.pg_roles grantor ON grantor.oid = i.grantor
    LEFT JOIN pg_catalog.pg_roles grantee ON grantee.oid = i.grantee
    WHERE i.grantee = 0 OR grantee.oid IS NOT NULL
) item
ORDER BY 2
