CREATE TABLE big (id bigint PRIMARY KEY, kind int NOT NULL, at timestamptz NOT NULL, payload text NOT NULL);

INSERT INTO big SELECT i, hashint8(i), timestamptz '2024-01-01' + i * interval '1 second', md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text) FROM generate_series(1, 500000 * :scale) i;

CREATE INDEX ON big (kind)
