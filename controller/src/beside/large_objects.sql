-- Large objects with what tells whether two of them are alike, ordered by number. $1: only these, or null for all.
-- $2, $3: a window of transactions, the first and how many; `changed` says that one of them wrote to the object. A page of a large
-- object is a row like any other, and keeps the transaction that wrote it as its xmin, even when it is frozen. Cutting an object
-- off writes a page as well. Without a window, $2 is null and `changed` false.
-- Empty pages are not counted: what they say is said by the size.
SELECT m.oid,
       pg_catalog.pg_get_userbyid(m.lomowner)::text AS owner,
       coalesce(m.lomacl, pg_catalog.acldefault('L', m.lomowner))::text AS acl,
       d.description AS comment,
       coalesce(p.pages, 0)::bigint AS pages,
       coalesce(p.bytes, 0)::bigint AS bytes,
       coalesce(p.size, 0)::bigint AS size,
       coalesce(p.changed, false) OR coalesce(((m.xmin::text::bigint - $2) & 4294967295) < $3, false) AS changed
FROM pg_catalog.pg_largeobject_metadata m
LEFT JOIN (
    SELECT l.loid,
           count(*) FILTER (WHERE pg_catalog.octet_length(l.data) > 0) AS pages,
           sum(pg_catalog.octet_length(l.data)) AS bytes,
           max(l.pageno::bigint * (pg_catalog.current_setting('block_size')::bigint / 4) + pg_catalog.octet_length(l.data)) AS size,
           coalesce(bool_or(((l.xmin::text::bigint - $2) & 4294967295) < $3), false) AS changed
    FROM pg_catalog.pg_largeobject l
    WHERE $1::oid[] IS NULL OR l.loid = ANY ($1)
    GROUP BY l.loid
) p ON p.loid = m.oid
LEFT JOIN pg_catalog.pg_description d
       ON d.objoid = m.oid AND d.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass AND d.objsubid = 0
WHERE $1 IS NULL OR m.oid = ANY ($1)
ORDER BY m.oid
