-- What a controller would have written half-way through a migration, into the control database.
INSERT INTO migrator.mapping (mapping, source, destination, source_version, destination_version, status, phase)
    VALUES ('erp', 'erp_old', 'erp_new', 150012, 180000, 'in_catchup', 'copying');
INSERT INTO migrator.database (mapping, database, status, phase, tables_total, tables_synced, bytes_total, bytes_copied, lag_bytes, lag)
    VALUES ('erp', 'shop', 'in_catchup', 'copying', 251, 100, 1000000, 750000, 4096, '1.5 s'),
           ('erp', $$<img src=x onerror="document.title='owned'">$$, 'synced', 'streaming', 1, 1, 8192, 8192, 0, '0 s');
INSERT INTO migrator.table_state (mapping, database, schema, name, status, state, bytes_total, bytes_copied, rows_copied)
    SELECT 'erp', 'shop', 'sales', 't' || i, 'in_catchup', 'copying', i * 8192, i * 4096, i FROM generate_series(1, 250) i;
INSERT INTO migrator.table_state (mapping, database, schema, name, status, state, problem)
    VALUES ('erp', 'shop', 'sales', 'broken', 'problematic', 'failed', 'type "point3" has no binary form'),
           ('erp', $$<img src=x onerror="document.title='owned'">$$, 'public', '</th><script>document.title="owned"</script>',
            'synced', 'streaming', NULL);
INSERT INTO migrator.cutover_check (mapping, database, name, ok, detail, fix)
    VALUES ('erp', 'shop', 'slot', true, 'active', ''),
           ('erp', 'shop', 'stream', true, 'no error', ''),
           ('erp', 'shop', 'tables', false, '151 of 251 tables are not in step', 'Wait for the copy.');
INSERT INTO migrator.finding (mapping, database, severity, code, object, reason, fix)
    VALUES ('erp', 'shop', 'warning', 'no_key', 'table public.log', 'has no key', 'ALTER TABLE public.log ADD PRIMARY KEY (…);');
INSERT INTO migrator.finding (mapping, database, severity, code, object, reason, fix, resolved_at)
    VALUES ('erp', 'shop', 'error', 'old', 'table public.x', 'resolved long ago', '', clock_timestamp());
