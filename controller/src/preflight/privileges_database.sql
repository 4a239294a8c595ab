-- What our user lacks in the connected database to publish every table of it.
SELECT current_user::text AS name,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create,
       count(t.relation) AS foreign_tables,
       COALESCE((pg_catalog.array_agg(t.relation ORDER BY t.relation))[1:5], '{}') AS first_tables
FROM (SELECT c.oid::pg_catalog.regclass::text AS relation
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND c.relpersistence = 'p'
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS t
