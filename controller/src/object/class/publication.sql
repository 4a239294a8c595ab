-- Publications, with what they publish in the words of CREATE PUBLICATION.
SELECT p.oid, p.pubname::text AS name, pg_catalog.pg_get_userbyid(p.pubowner)::text AS owner, p.puballtables AS all_tables,
       pg_catalog.concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                            CASE WHEN p.pubdelete THEN 'delete' END,
                            CASE WHEN p.pubtruncate THEN 'truncate' END) AS operations, -- since 11
                            -- before 11: NULL) AS operations,
       p.pubviaroot AS via_root, -- since 13
       -- before 13: false AS via_root,
       ARRAY(SELECT pg_catalog.format('TABLE ONLY %I.%I', tn.nspname, t.relname)
                    || coalesce((SELECT ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' -- since 15
                                 FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (r.prattrs)), '') -- since 15
                    || coalesce(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', '') -- since 15
             FROM pg_catalog.pg_publication_rel r
             JOIN pg_catalog.pg_class t ON t.oid = r.prrelid
             JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
             WHERE r.prpubid = p.oid
             ORDER BY tn.nspname, t.relname) AS tables,
       ARRAY(SELECT pg_catalog.format('TABLES IN SCHEMA %I', n.nspname) -- since 15
             FROM pg_catalog.pg_publication_namespace s JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid -- since 15
             WHERE s.pnpubid = p.oid ORDER BY n.nspname) AS schemas -- since 15
       -- before 15: ARRAY[]::text[] AS schemas
FROM pg_catalog.pg_publication p
WHERE p.oid >= 16384
