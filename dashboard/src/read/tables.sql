-- Tables of one database that match a filter; ORDER BY, LIMIT and OFFSET are added where it is sent.
-- $1 mapping, $2 database, $3 part of the name ('' for all), $4 status ('' for all)
SELECT t.schema, t.name, t.status::text AS status, t.state, t.bytes_total, t.bytes_copied, t.rows_copied,
       t.copied_lsn::text AS copied_lsn, t.replica_identity, t.problem, p.progress
FROM migrator.tables t
CROSS JOIN LATERAL (SELECT CASE WHEN t.state IN ('copied', 'catchup', 'streaming') THEN 1.0
                                WHEN t.bytes_total = 0 THEN 0.0
                                ELSE least(t.bytes_copied::float8 / t.bytes_total, 0.99) END::float8 AS progress) p
WHERE t.mapping = $1 AND t.database = $2
  AND ($3 = '' OR strpos(lower(t.schema || '.' || t.name), lower($3)) > 0)
  AND ($4 = '' OR t.status::text = $4)
