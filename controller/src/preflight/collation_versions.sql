-- The version that this server has of a collation with the provider $1 and the locale $2. Where there is none of this locale: of the
-- system's C library, every locale has the same version; of ICU, the root's is the best there is to know.
SELECT COALESCE(
    (SELECT max(pg_catalog.pg_collation_actual_version(c.oid)) FROM pg_catalog.pg_collation c
     CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(c)) AS j(row)
     WHERE c.collprovider::text = $1
       AND pg_catalog.translate(pg_catalog.lower(COALESCE(j.row ->> 'colllocale', j.row ->> 'colliculocale', c.collcollate::text)), '-', '')
           = pg_catalog.translate(pg_catalog.lower($2), '-', '')),
    (SELECT max(pg_catalog.pg_collation_actual_version(c.oid)) FROM pg_catalog.pg_collation c
     WHERE c.collprovider::text = $1 AND ($1 = 'c' OR c.collname IN ('und-x-icu', 'unicode')))) AS version
