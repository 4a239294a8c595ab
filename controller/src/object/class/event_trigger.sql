-- Event triggers.
SELECT e.oid, e.evtname::text AS name, pg_catalog.pg_get_userbyid(e.evtowner)::text AS owner, e.evtevent::text AS event,
       e.evttags::text[] AS tags, e.evtfoid::regproc::text AS function, e.evtenabled::text AS state
FROM pg_catalog.pg_event_trigger e
WHERE e.oid >= 16384
