CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, since timestamptz NOT NULL, credit numeric(12,2));
CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customers, at timestamptz NOT NULL, state text NOT NULL, total numeric(12,2), note text);
CREATE TABLE lines (order_id bigint NOT NULL REFERENCES orders, line int NOT NULL, product int NOT NULL, quantity int NOT NULL, price numeric(10,2), PRIMARY KEY (order_id, line));
CREATE TABLE events (id bigint NOT NULL, at date NOT NULL, kind text NOT NULL, payload jsonb, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2024-04-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2024-04-01') TO ('2024-07-01');
CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2024-07-01') TO ('2024-10-01');
CREATE TABLE events_4 PARTITION OF events FOR VALUES FROM ('2024-10-01') TO ('2025-01-01');
CREATE TABLE documents (id bigint PRIMARY KEY, title text NOT NULL, body text NOT NULL);
CREATE TABLE log (id bigint PRIMARY KEY, at timestamptz NOT NULL, message text NOT NULL);

INSERT INTO customers SELECT i, md5(i::text) || '@example.org', 'Customer ' || md5((i * 7)::text), timestamptz '2020-01-01' + i * interval '1 minute', i % 1000 FROM generate_series(1, 20000 * :scale) i;

INSERT INTO orders SELECT i, 1 + (hashint8(i)::bigint & 16383), timestamptz '2024-01-01' + i * interval '10 seconds', (ARRAY['new','paid','sent','done'])[1 + i % 4], i % 10000, repeat('note ', 1 + (i % 8)::int) FROM generate_series(1, 100000 * :scale) i;

INSERT INTO lines SELECT 1 + i / 3, i % 3, hashint8(i) & 8191, 1 + i % 9, i % 5000 FROM generate_series(1, 299999 * :scale) i;

INSERT INTO events SELECT i, date '2024-01-01' + (i % 366)::int, 'kind ' || i % 20, jsonb_build_object('user', i % 9973, 'path', '/p/' || md5(i::text), 'ms', i % 700) FROM generate_series(1, 100000 * :scale) i;

INSERT INTO documents SELECT i, 'Document ' || i, (SELECT string_agg(md5((i * 100 + j)::text) || ' the quick brown fox jumps over the lazy dog ', '') FROM generate_series(1, 60) j) FROM generate_series(1, 1500 * :scale) i;

INSERT INTO log SELECT i, timestamptz '2024-01-01' + i * interval '1 second', 'message ' || md5(i::text) || ' from host ' || i % 50 FROM generate_series(1, 60000 * :scale) i;

CREATE INDEX ON customers (name);
CREATE INDEX ON orders (customer);
CREATE INDEX ON orders (at);
CREATE INDEX ON lines (product);
CREATE INDEX ON events (kind);
CREATE INDEX ON events ((payload ->> 'user'));
CREATE INDEX ON log (at);

DO $$ BEGIN
  FOR i IN 1..200 LOOP
    EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, name text, at timestamptz DEFAULT now())', i);
    EXECUTE format('INSERT INTO small_%s SELECT g, md5(g::text) FROM generate_series(1, 200) g', i);
    EXECUTE format('CREATE INDEX ON small_%s (name)', i);
  END LOOP;
END $$
