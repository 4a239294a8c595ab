-- What both sides' tables must agree in, as one text: names of tables and schemas, columns, whose children they are, what is published. Columns and
-- publications by the transactions that wrote their rows, summed up: the latest one says nothing where an older one commits later. Tables by their names, for
-- TRUNCATE and GRANT write their rows as well. Other kinds of relations and temporary tables do not count. Runs on every version from 10 on.
WITH tables AS (
    SELECT c.oid, c.relname, c.relnamespace FROM pg_catalog.pg_class c
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384
)
SELECT pg_catalog.concat_ws(' ',
    (SELECT pg_catalog.concat_ws(' ', count(*), sum(pg_catalog.hashtext(pg_catalog.concat_ws(' ', t.oid, t.relnamespace, t.relname)))) FROM tables t),
    (SELECT pg_catalog.concat_ws(' ', count(*), sum(a.xmin::text::bigint))
     FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND a.attrelid IN (SELECT t.oid FROM tables t)),
    (SELECT pg_catalog.concat_ws(' ', count(*), sum(r.xmin::text::bigint)) FROM pg_catalog.pg_publication_rel r),
    (SELECT pg_catalog.concat_ws(' ', count(*), sum(p.xmin::text::bigint)) FROM pg_catalog.pg_publication p),
    -- Children of other kinds are indexes; partitions that have partitions themselves are between a table and its root.
    (SELECT pg_catalog.concat_ws(' ', count(*), sum(pg_catalog.hashtext(pg_catalog.concat_ws(' ', i.inhrelid, i.inhparent, x.relname, x.relnamespace))))
     FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p')
     JOIN pg_catalog.pg_class x ON x.oid = i.inhparent),
    (SELECT pg_catalog.concat_ws(' ', count(*), sum(pg_catalog.hashtext(pg_catalog.concat_ws(' ', n.oid, n.nspname))))
     FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_'))
