-- Tables of which a stream may not have carried every kind of change: those in publications for inserts alone ($2), and, before
-- version 11, which does not publish TRUNCATE, all that are published ($1). Runs on every version from 10 on, in psql as it stands.
SELECT c.oid,
       n.nspname                  AS schema,
       c.relname                  AS name,
       c.relfilenode              AS file,
       p.pubname::text = ANY ($2) AS inserts_only
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname::text = ANY ($2)
   OR p.pubname::text = ANY ($1) AND pg_catalog.current_setting('server_version_num')::integer < 110000
ORDER BY schema, name
