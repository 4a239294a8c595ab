-- Publications, with what they publish in the words of ALTER PUBLICATION … ADD: tables first, then schemas.
SELECT p.oid, p.pubname::text AS name, pg_catalog.pg_get_userbyid(p.pubowner)::text AS owner, p.puballtables AS all_tables,
       pg_catalog.concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                            CASE WHEN p.pubdelete THEN 'delete' END,
                            CASE WHEN p.pubtruncate THEN 'truncate' END) AS operations, -- since 11
                            -- before 11: NULL) AS operations,
       p.pubviaroot AS via_root, -- since 13
       -- before 13: false AS via_root,
       member.tables, member.oids, member.names, member.clauses
FROM pg_catalog.pg_publication p
CROSS JOIN LATERAL (
    SELECT coalesce(pg_catalog.array_agg(m.is_table ORDER BY m.is_table DESC, m.name), '{}') AS tables,
           coalesce(pg_catalog.array_agg(m.oid ORDER BY m.is_table DESC, m.name), '{}') AS oids,
           coalesce(pg_catalog.array_agg(m.name ORDER BY m.is_table DESC, m.name), '{}') AS names,
           coalesce(pg_catalog.array_agg(m.clause ORDER BY m.is_table DESC, m.name), '{}') AS clauses
    FROM (
        SELECT true AS is_table, t.oid, pg_catalog.format('%I.%I', tn.nspname, t.relname) AS name,
               ''
               || coalesce((SELECT ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' -- since 15
                            FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (r.prattrs)), '') -- since 15
               || coalesce(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', '') -- since 15
               AS clause
        FROM pg_catalog.pg_publication_rel r
        JOIN pg_catalog.pg_class t ON t.oid = r.prrelid
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        WHERE r.prpubid = p.oid
        UNION ALL -- since 15
        SELECT false, n.oid, pg_catalog.quote_ident(n.nspname), '' -- since 15
        FROM pg_catalog.pg_publication_namespace s JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid -- since 15
        WHERE s.pnpubid = p.oid -- since 15
    ) m
) member
WHERE p.oid >= 16384
