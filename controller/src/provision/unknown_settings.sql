-- Which of the variables $1 (text[]) this server does not have. current_setting() also knows those that pg_settings leaves out,
-- such as role, and the new names of renamed ones.
SELECT name
FROM unnest($1::text[]) AS name
WHERE pg_catalog.strpos(name, '.') = 0
  AND pg_catalog.current_setting(name, true) IS NULL
