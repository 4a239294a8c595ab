-- Columns of published tables ($1: the publications) whose binary form does not mean the same on another server. Safe are
-- types with an OID that is assigned by hand, the same in every version, and enums, which travel by their labels; also
-- domains over such. Not safe: what holds OIDs of this server's own objects (reg* types, rows, arrays of user-defined
-- types), what an extension brings (its version may be another), and xml, which the binary form re-encodes.
SELECT n.nspname AS schema, c.relname AS table,
       pg_catalog.string_agg(a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) AS columns
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END
WHERE p.pubname = ANY ($1)
  AND NOT (t.typtype = 'e'
           OR t.oid < 10000 AND t.typtype IN ('b', 'r', 'm') AND t.typname !~ '^_?reg' AND t.typname NOT IN ('xml', '_xml'))
GROUP BY 1, 2
ORDER BY 1, 2
