CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, note text);
CREATE INDEX ON account (balance);
CREATE TABLE last_change (id int PRIMARY KEY, n bigint NOT NULL);
CREATE SEQUENCE change_number;
INSERT INTO last_change VALUES (1, 0);
INSERT INTO account SELECT i, i, md5(i::text) FROM generate_series(1, 100000) i;

-- Ten changes a transaction: six updates, two deletes, two inserts.
CREATE PROCEDURE change(changes int) LANGUAGE plpgsql AS $$
DECLARE key int;
BEGIN
  FOR i IN 1..changes / 10 LOOP
    FOR j IN 0..5 LOOP
      UPDATE account SET balance = balance + 1, note = md5((i + j)::text) WHERE id = 1 + (i * 6 + j) * 7 % 90000;
    END LOOP;
    FOR j IN 0..1 LOOP
      key := 90001 + (i * 2 + j) % 10000;
      DELETE FROM account WHERE id = key;
      INSERT INTO account VALUES (key, i, md5(j::text));
    END LOOP;
    COMMIT;
  END LOOP;
  UPDATE last_change SET n = nextval('change_number');
END $$
