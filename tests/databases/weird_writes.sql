-- writer Order
INSERT INTO "Order" ("group", payload) VALUES ('new', repeat('y', :{4000}));

UPDATE "Order" SET "a b" = :{10000} WHERE "Id" = 1 + :{3000};

DELETE FROM "Order" WHERE "Id" = 1 + :{3000};

-- writer keyless
INSERT INTO keyless VALUES ('u' || :{10}, clock_timestamp(), random());

UPDATE keyless SET n = n + 1 WHERE "user" = 'u' || :{10} AND n < :{50};

DELETE FROM keyless WHERE "user" = 'u' || :{10} AND n BETWEEN 600 AND 603 + :{5};

-- writer empty
INSERT INTO empty VALUES (:{100000});

DELETE FROM empty WHERE id % 3 = :{3};

-- writer truncate from 11
INSERT INTO empty SELECT :{100000} + n FROM generate_series(1, 20) n;

INSERT INTO empty SELECT :{100000} + n FROM generate_series(1, 20) n;

DO $$ BEGIN
    -- Now and then, as for a staging table: a snapshot does not see what a table held before it was truncated.
    IF :{200} = 0 THEN TRUNCATE empty; END IF;
END $$;

-- writer ta ble
INSERT INTO "We ird"."ta ble" VALUES (1000 + :{1000000}, '%s%n', '{}');

UPDATE "We ird"."ta ble" SET "a.b" = ARRAY[:{100}::text], id = 2000000 + :{1000000} WHERE id = 1 + :{1000};

-- writer no columns
INSERT INTO "no columns" DEFAULT VALUES;

-- writer given
UPDATE "We ird".given SET what = 'again ' || :{1000} WHERE id = 1 + :{100};

INSERT INTO "We ird".given VALUES (101 + :{100000}, 'new');
