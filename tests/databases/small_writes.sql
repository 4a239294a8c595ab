-- writer people
INSERT INTO app.people (name, weight) VALUES ('New ' || :{1000}, random());

UPDATE app.people SET state = 'old', weight = random() WHERE id = 1 + :{2000};

DELETE FROM app.people WHERE id = 1 + :{2000};

-- writer letters
INSERT INTO app.letters (person, body) SELECT id, repeat('z', :{5000}) FROM app.people WHERE id = 1 + :{2000};

UPDATE app.letters SET person = person WHERE id = 1 + :{3000};

DELETE FROM app.letters WHERE id = 1 + :{3000};

-- writer events
INSERT INTO app.events (what, n) VALUES ('new', :{10});

UPDATE app.events SET what = 'changed' WHERE n = :{10} AND what = 'new';

DELETE FROM app.events WHERE what = 'changed';

-- writer readings
INSERT INTO app.readings VALUES ('2026-01-01'::date + :{59}, :{20}, random());

UPDATE app.readings SET value = random() WHERE sensor = :{20} AND day = '2026-01-01'::date + :{59};

DELETE FROM app.readings WHERE sensor = :{20} AND day = '2026-01-01'::date + :{59};

-- writer moves from 11
UPDATE app.readings SET day = '2026-01-01'::date + :{59} WHERE sensor = :{20} AND day = '2026-01-01'::date + :{59};

-- writer codes
INSERT INTO app.codes VALUES ('n' || :{100000}, NULL);

UPDATE app.codes SET meaning = 'm' || :{100} WHERE code = 'c' || :{500};

DELETE FROM app.codes WHERE code = 'c' || :{500};

-- writer sequences
SELECT nextval('app.loose');
