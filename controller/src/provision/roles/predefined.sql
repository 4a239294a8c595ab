-- The predefined roles this server has.
SELECT r.rolname::text AS name FROM pg_catalog.pg_roles r WHERE r.rolname ~ '^pg_'
