-- How many transactions below the snapshot's xmax that are not in it as running still hold the lock on their own id.
WITH snapshot AS (
    SELECT txid_snapshot_xmin(s) AS xmin, txid_snapshot_xmax(s) AS xmax,
           ARRAY(SELECT txid_snapshot_xip(s)) AS xip FROM txid_current_snapshot() s)
SELECT count(*) FROM pg_catalog.pg_locks l, snapshot
WHERE l.locktype = 'transactionid' AND l.granted
  -- 32-bit ids of the locks against 64-bit ids of the snapshot: compared by their distance below xmax.
  AND ((xmax & 4294967295) - l.transactionid::text::bigint + 4294967296) % 4294967296 BETWEEN 1 AND 2147483647
  AND NOT EXISTS (SELECT FROM unnest(xip) x WHERE (x & 4294967295) = l.transactionid::text::bigint)
