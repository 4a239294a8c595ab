-- Collations.
SELECT c.oid, n.nspname::text AS schema, c.collname::text AS name, pg_catalog.pg_get_userbyid(c.collowner)::text AS owner,
       c.collprovider::text AS provider, c.collcollate::text AS lc_collate, c.collctype::text AS lc_ctype,
       c.collisdeterministic AS deterministic, -- since 12
       -- before 12: true AS deterministic,
       c.collicurules AS rules, -- since 16
       -- before 16: NULL::text AS rules,
       c.colllocale AS locale -- since 17
       -- 15 to 16: c.colliculocale AS locale
       -- before 15: CASE WHEN c.collprovider = 'i' THEN c.collcollate::text END AS locale
FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
