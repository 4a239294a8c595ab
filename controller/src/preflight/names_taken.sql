-- Whether there is a publication of the name $1, and a replication slot of the name $2.
SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1) AS publication,
       EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $2) AS slot
