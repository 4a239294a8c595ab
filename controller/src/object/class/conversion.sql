-- Conversions between encodings.
SELECT c.oid, n.nspname::text AS schema, c.conname::text AS name, pg_catalog.pg_get_userbyid(c.conowner)::text AS owner,
       pg_catalog.pg_encoding_to_char(c.conforencoding)::text AS source, pg_catalog.pg_encoding_to_char(c.contoencoding)::text AS target,
       c.conproc::oid::regproc::text AS function, c.condefault AS is_default
FROM pg_catalog.pg_conversion c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
