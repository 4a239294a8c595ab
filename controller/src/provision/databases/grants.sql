-- What is granted on each database, one row a grantee, grantor and kind of grant. No name for the grantee means PUBLIC.
SELECT d.oid,
       CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END AS grantee,
       pg_catalog.pg_get_userbyid(a.grantor)::text AS grantor,
       a.is_grantable AS grantable,
       pg_catalog.array_agg(a.privilege_type::text ORDER BY a.privilege_type) AS privileges
FROM pg_catalog.pg_database d
CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) AS a
WHERE d.datallowconn
GROUP BY d.oid, a.grantee, a.grantor, a.is_grantable
ORDER BY d.oid, a.grantee, a.grantor, a.is_grantable
