CREATE PROCEDURE make_tables(first int, last int) LANGUAGE plpgsql AS $$ BEGIN
  FOR i IN first..last LOOP
    EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, name text, at timestamptz DEFAULT now())', i);
    EXECUTE format('INSERT INTO t%s SELECT g, md5(g::text) FROM generate_series(1, 20) g', i);
    EXECUTE format('CREATE INDEX ON t%s (name)', i);
    IF i % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;

CALL make_tables(1, 5000);

DROP PROCEDURE make_tables
