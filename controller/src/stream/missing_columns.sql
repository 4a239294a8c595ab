-- Which of the columns $3 the table $2 in the schema $1 lacks, and which of its own are GENERATED ALWAYS AS IDENTITY.
SELECT ARRAY(SELECT column_name FROM unnest($3::text[]) AS column_name
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                               WHERE a.attrelid = c.oid AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped)) AS missing,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attidentity = 'a' AND NOT a.attisdropped) AS identities
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
