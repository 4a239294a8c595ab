-- Base types, and names of types that were never completed (shells).
SELECT t.oid, n.nspname::text AS schema, t.typname::text AS name, pg_catalog.pg_get_userbyid(t.typowner)::text AS owner,
       t.typisdefined AS is_defined,
       ARRAY(SELECT CASE WHEN u.oid <> 0 THEN u.oid::regproc::text END FROM pg_catalog.unnest(ARRAY[
                 -- in the order of FUNCTIONS in base_type.rs
                 t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze,
                 t.typsubscript -- since 14
                 -- before 14: 0
             ]::oid[]) WITH ORDINALITY AS u(oid, n) ORDER BY u.n) AS functions,
       t.typlen AS length, t.typbyval AS by_value, t.typalign::text AS alignment, t.typstorage::text AS storage,
       t.typcategory::text AS category, t.typispreferred AS is_preferred, t.typdefault AS default_value,
       CASE WHEN t.typelem <> 0 THEN pg_catalog.format_type(t.typelem, NULL) END AS element,
       t.typdelim::text AS delimiter, t.typcollation <> 0 AS is_collatable
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid >= 16384 AND (t.typtype = 'b' OR NOT t.typisdefined)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_type element WHERE element.typarray = t.oid)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
