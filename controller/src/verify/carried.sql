-- What the tables of the publications $1 are, or those of them with the OIDs $2, if it is not null: their names, their files, how they are
-- published and what columns they have, the last two as texts that are compared with what they were before. A table that is taken out of a
-- publication and put back has another row there, as it has where its row filter or column list is changed; whatever else is changed of a
-- publication writes its row anew. Runs on every version from 10 on, in psql as it stands.
SELECT c.oid,
       n.nspname                                                                               AS schema,
       c.relname                                                                               AS name,
       c.relfilenode                                                                           AS file,
       string_agg(pg_catalog.concat_ws('/', p.oid, p.xmin, r.oid), ' ' ORDER BY r.oid)         AS published,
       a.columns,
       a.attributes
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT COALESCE(pg_catalog.hashtext(string_agg(pg_catalog.concat_ws(' ', g.attnum, g.attname, g.atttypid, g.atttypmod), ',' ORDER BY g.attnum)
                                        FILTER (WHERE NOT g.attisdropped)), 0)::text           AS columns,
           -- Says that something about a column was changed; most of it (a default, NOT NULL, a privilege) leaves the rows alone.
           COALESCE(sum(g.xmin::text::bigint), 0)::text                                        AS attributes
    FROM pg_catalog.pg_attribute g WHERE g.attrelid = c.oid AND g.attnum > 0
) a
WHERE p.pubname::text = ANY ($1) AND ($2::oid[] IS NULL OR c.oid = ANY ($2))
GROUP BY c.oid, n.nspname, c.relname, c.relfilenode, a.columns, a.attributes
