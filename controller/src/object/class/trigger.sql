-- Triggers that a user made, and the copies of such on partitions, whose state may differ.
SELECT t.oid, n.nspname::text AS schema, c.relname::text AS table_name, c.oid AS relation, t.tgname::text AS name,
       pg_catalog.pg_get_triggerdef(t.oid) AS definition, t.tgenabled::text AS state,
       nullif(t.tgparentid, 0) AS parent_oid -- since 13
       -- 11 to 12: (SELECT d.refobjid FROM pg_catalog.pg_depend d WHERE d.classid = 2620 AND d.objid = t.oid AND d.refclassid = 2620 LIMIT 1) AS parent_oid
       -- before 11: NULL::oid AS parent_oid
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint con ON con.oid = t.tgconstraint
WHERE t.oid >= 16384 AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND coalesce(con.contype, 't') = 't'
  AND (NOT t.tgisinternal
       OR t.tgparentid <> 0 -- since 13
       -- 11 to 12: OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 2620 AND d.objid = t.oid AND d.refclassid = 2620)
  )
