-- Hands a table that was copied as of a position of the source over to a subscription of this database (extension/src/attach.rs).
-- In a migrated database, which has no extension, the controller makes the same function in its own temporary schema:
--   CREATE FUNCTION pg_temp.attach(oid, oid, pg_lsn) RETURNS void LANGUAGE c STRICT AS '$libdir/migrator', 'attach_wrapper';
CREATE FUNCTION migrator.attach(subscription oid, relation oid, lsn pg_lsn) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'attach_wrapper';
COMMENT ON FUNCTION migrator.attach(oid, oid, pg_lsn) IS
    'Marks a table as copied as of a position of the source: its subscription skips, for this table, what was committed before, and applies the rest.';

-- Takes a table out of a subscription again, so that it can be copied anew; to be called while the subscription is disabled.
CREATE FUNCTION migrator.detach(subscription oid, relation oid) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'detach_wrapper';
COMMENT ON FUNCTION migrator.detach(oid, oid) IS
    'Takes a table out of a subscription of this database, so that it can be copied anew and attached as of a later position.';
