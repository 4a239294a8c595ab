-- Memberships. The columns of 16 (inherit_option, set_option) are null where an older server does not have them.
SELECT g.rolname::text AS role,
       m.rolname::text AS member,
       CASE WHEN a.grantor = 10 THEN NULL ELSE grantor.rolname::text END AS grantor,
       a.admin_option AS admin,
       COALESCE((pg_catalog.to_jsonb(a) ->> 'inherit_option')::boolean, m.rolinherit) AS inherit,
       COALESCE((pg_catalog.to_jsonb(a) ->> 'set_option')::boolean, true) AS set
FROM pg_catalog.pg_auth_members a
JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
JOIN pg_catalog.pg_roles m ON m.oid = a.member
LEFT JOIN pg_catalog.pg_roles grantor ON grantor.oid = a.grantor
ORDER BY 1, 2, 3 NULLS FIRST
