-- Every fact a cutover needs; those that fail come first.
SELECT c.mapping, c.database, c.name, c.ok, c.detail, c.fix
FROM migrator.cutover_checks c
ORDER BY c.mapping, c.ok, c.database, c.name
