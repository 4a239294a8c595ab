-- How many tables of one database match a filter; the parameters are those of tables.sql.
SELECT count(*) AS matching
FROM migrator.tables t
WHERE t.mapping = $1 AND t.database = $2
  AND ($3 = '' OR strpos(lower(t.schema || '.' || t.name), lower($3)) > 0)
  AND ($4 = '' OR t.status::text = $4)
