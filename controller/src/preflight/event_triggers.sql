-- Event triggers that fire in ordinary sessions, except at login.
SELECT e.evtname::text AS name, e.evtevent::text AS event FROM pg_catalog.pg_event_trigger e
WHERE e.evtenabled IN ('O', 'A') AND e.evtevent <> 'login' ORDER BY 1
