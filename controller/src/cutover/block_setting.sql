-- The value that the parameter $1 has for the database $2 and, where it is not null, the role $3 there; null if there is none.
SELECT (SELECT split_part(c, '=', 2)
        FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
        WHERE d.datname = $2::text
          AND s.setrole = CASE WHEN $3::text IS NULL THEN 0::oid ELSE (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = $3::text) END
          AND split_part(c, '=', 1) = $1::text) AS value
