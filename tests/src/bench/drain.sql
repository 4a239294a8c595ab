CREATE SEQUENCE change_number;

-- As many tables as there are streams at most. The row 0 of each is changed last of all.
DO $$ BEGIN
  FOR t IN 1..4 LOOP
    EXECUTE format('CREATE TABLE account_%s (id int PRIMARY KEY, balance bigint NOT NULL, note text)', t);
    EXECUTE format('CREATE INDEX ON account_%s (balance)', t);
    EXECUTE format('INSERT INTO account_%s SELECT i, i, md5(i::text) FROM generate_series(0, 25000) i', t);
    EXECUTE format('UPDATE account_%s SET balance = 0 WHERE id = 0', t);
  END LOOP;
END $$;

-- Ten changes a transaction, to one table: six updates, two deletes, two inserts.
CREATE PROCEDURE change(changes int) LANGUAGE plpgsql AS $$
DECLARE
  key int;
  name text;
  number bigint := nextval('change_number');
BEGIN
  FOR i IN 1..changes / 10 LOOP
    name := 'account_' || 1 + i % 4;
    FOR j IN 0..5 LOOP
      EXECUTE format('UPDATE %I SET balance = balance + 1, note = md5($1::text) WHERE id = $2', name)
        USING i + j, 1 + (i * 6 + j) * 7 % 20000;
    END LOOP;
    FOR j IN 0..1 LOOP
      key := 20001 + (i * 2 + j) % 5000;
      EXECUTE format('DELETE FROM %I WHERE id = $1', name) USING key;
      EXECUTE format('INSERT INTO %I VALUES ($1, $2, md5($3::text))', name) USING key, i, j;
    END LOOP;
    COMMIT;
  END LOOP;
  FOR t IN 1..4 LOOP
    EXECUTE format('UPDATE account_%s SET balance = $1 WHERE id = 0', t) USING number;
    COMMIT;
  END LOOP;
END $$
