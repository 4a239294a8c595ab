-- Objects of the rarer kinds, wherever they are: those that no class read are told of. They stand in pg_catalog, mostly, where a
-- superuser put them.
SELECT 'aggregate' AS class, 1255::oid AS catalog, p.oid, pg_catalog.format('%I.%I', n.nspname, p.proname) AS name
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid >= 16384
  AND p.prokind = 'a' -- since 11
-- before 11: AND p.proisagg
UNION ALL
SELECT 'base_type', 1247, t.oid, pg_catalog.format('%I.%I', n.nspname, t.typname)
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid >= 16384 AND (t.typtype = 'b' OR NOT t.typisdefined)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_type element WHERE element.typarray = t.oid)
UNION ALL
SELECT 'operator', 2617, o.oid, pg_catalog.format('%I.%s(%s, %s)', n.nspname, o.oprname,
       pg_catalog.format_type(o.oprleft, NULL), pg_catalog.format_type(o.oprright, NULL))
FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384
UNION ALL
SELECT 'operator_class', 2616, o.oid, pg_catalog.format('%I.%I', n.nspname, o.opcname)
FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace WHERE o.oid >= 16384
UNION ALL
SELECT 'operator_family', 2753, o.oid, pg_catalog.format('%I.%I', n.nspname, o.opfname)
FROM pg_catalog.pg_opfamily o JOIN pg_catalog.pg_namespace n ON n.oid = o.opfnamespace WHERE o.oid >= 16384
UNION ALL
SELECT 'access_method', 2601, a.oid, pg_catalog.format('%I', a.amname) FROM pg_catalog.pg_am a WHERE a.oid >= 16384
UNION ALL
SELECT 'cast', 2605, c.oid, pg_catalog.format('(%s AS %s)', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL))
FROM pg_catalog.pg_cast c WHERE c.oid >= 16384
  -- a range's cast to its multirange comes with the range
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 2605 AND d.objid = c.oid AND d.deptype = 'i')
UNION ALL
SELECT 'conversion', 2607, c.oid, pg_catalog.format('%I.%I', n.nspname, c.conname)
FROM pg_catalog.pg_conversion c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace WHERE c.oid >= 16384
UNION ALL
SELECT 'transform', 3576, t.oid, pg_catalog.format('for %s language %I', pg_catalog.format_type(t.trftype, NULL), l.lanname)
FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang WHERE t.oid >= 16384
UNION ALL
SELECT 'language', 2612, l.oid, pg_catalog.format('%I', l.lanname) FROM pg_catalog.pg_language l WHERE l.oid >= 16384
UNION ALL
SELECT 'text_search_parser', 3601, p.oid, pg_catalog.format('%I.%I', n.nspname, p.prsname)
FROM pg_catalog.pg_ts_parser p JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace WHERE p.oid >= 16384
UNION ALL
SELECT 'text_search_template', 3764, t.oid, pg_catalog.format('%I.%I', n.nspname, t.tmplname)
FROM pg_catalog.pg_ts_template t JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace WHERE t.oid >= 16384
UNION ALL
SELECT 'text_search_dictionary', 3600, d.oid, pg_catalog.format('%I.%I', n.nspname, d.dictname)
FROM pg_catalog.pg_ts_dict d JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace WHERE d.oid >= 16384
UNION ALL
SELECT 'text_search_configuration', 3602, c.oid, pg_catalog.format('%I.%I', n.nspname, c.cfgname)
FROM pg_catalog.pg_ts_config c JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace WHERE c.oid >= 16384
UNION ALL
SELECT 'foreign_data_wrapper', 2328, w.oid, pg_catalog.format('%I', w.fdwname)
FROM pg_catalog.pg_foreign_data_wrapper w WHERE w.oid >= 16384
UNION ALL
SELECT 'foreign_server', 1417, s.oid, pg_catalog.format('%I', s.srvname) FROM pg_catalog.pg_foreign_server s WHERE s.oid >= 16384
UNION ALL
SELECT 'user_mapping', 1418, u.umid, pg_catalog.format('for %I server %I', u.usename, u.srvname) FROM pg_catalog.pg_user_mappings u
UNION ALL
SELECT 'foreign_table', 1259, c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid >= 16384 AND c.relkind = 'f'
UNION ALL
SELECT 'event_trigger', 3466, e.oid, pg_catalog.format('%I', e.evtname) FROM pg_catalog.pg_event_trigger e WHERE e.oid >= 16384
UNION ALL
SELECT 'publication', 6104, p.oid, p.pubname::text FROM pg_catalog.pg_publication p
UNION ALL
SELECT 'relation', 1259, c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_(temp|toast)'
  AND (n.nspname ~ '^pg_' OR n.nspname = 'information_schema')
  AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'i'))
UNION ALL
SELECT 'function', 1255, p.oid, pg_catalog.format('%I.%I', n.nspname, p.proname)
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid >= 16384 AND n.nspname !~ '^pg_temp'
  AND (n.nspname ~ '^pg_' OR n.nspname = 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype = 'i')
  -- the functions of a language that was made without its extension come with the extension
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_language l WHERE n.nspname = 'pg_catalog' AND p.oid IN (l.lanplcallfoid, l.laninline, l.lanvalidator))
ORDER BY 1, 4
