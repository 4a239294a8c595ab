-- Columns of tables, views and composite types, with their defaults.
SELECT a.attrelid AS relation, a.attnum AS number, a.attname::text AS name,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attcollation <> t.typcollation THEN co.collname::text END AS collation_name,
       CASE WHEN a.attcollation <> t.typcollation THEN cn.nspname::text END AS collation_schema,
       a.attnotnull AS not_null, a.attislocal AS is_local, a.attinhcount > 0 AS is_inherited,
       a.attidentity::text AS identity,
       a.attgenerated = 's' AS generated, -- since 12
       -- before 12: false AS generated,
       CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END AS storage,
       nullif(a.attcompression, '')::text AS compression, -- since 14
       -- before 14: NULL::text AS compression,
       CASE WHEN a.attstattarget >= 0 THEN a.attstattarget::integer END AS statistics,
       a.attoptions::text[] AS options, a.attfdwoptions::text[] AS foreign_options,
       d.oid AS default_oid, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS default_expression
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND c.relpersistence <> 't'
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
