-- The privileges on some large objects ($1), one a row, in the order in which they are stored; grantee '' is PUBLIC.
SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner)::text AS owner,
       grantor.rolname::text AS grantor, coalesce(grantee.rolname::text, '') AS grantee, i.privilege, i.grantable
FROM pg_catalog.pg_largeobject_metadata m
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(m.lomacl, pg_catalog.acldefault('L', m.lomowner)))
    WITH ORDINALITY AS i(grantor, grantee, privilege, grantable, n)
JOIN pg_catalog.pg_roles grantor ON grantor.oid = i.grantor
LEFT JOIN pg_catalog.pg_roles grantee ON grantee.oid = i.grantee
WHERE m.oid = ANY ($1) AND (i.grantee = 0 OR grantee.oid IS NOT NULL)
ORDER BY m.oid, i.n
