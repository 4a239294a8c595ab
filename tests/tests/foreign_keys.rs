//! Foreign keys do not wait for what has nothing to do with them, and are true all the same.

use std::time::{Duration, Instant};

use pg_migrator_tests::pair::{READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, compare};

/// Two small tables with a foreign key, one whose foreign key its own rows break, and a large one whose indexes take longer.
const TABLES: &str = "
    CREATE TABLE parent (id int PRIMARY KEY, t text);
    CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent ON DELETE CASCADE);
    CREATE TABLE broken (id int PRIMARY KEY, parent int);
    INSERT INTO parent SELECT i, md5(i::text) FROM generate_series(1, 60000) i;
    INSERT INTO child SELECT i, i FROM generate_series(1, 60000) i;
    INSERT INTO broken VALUES (1, 1), (2, -2);
    -- As it is after rows were loaded with triggers switched off: valid by the catalog alone.
    ALTER TABLE broken ADD CONSTRAINT broken_parent FOREIGN KEY (parent) REFERENCES parent NOT VALID;
    UPDATE pg_constraint SET convalidated = true WHERE conname = 'broken_parent';
    CREATE TABLE large AS SELECT i AS id, md5(i::text) AS a, md5((i * 7)::text) AS b FROM generate_series(1, 500000) i;
    ALTER TABLE large ADD PRIMARY KEY (id);
    CREATE INDEX ON large (a);
    CREATE INDEX ON large (b);
    CREATE INDEX ON large (a, b)";

/// Deletes and inserts pairs all the time: at any moment the key holds, and seldom for the same rows.
const WRITE: &str = "
    DO $$ BEGIN
      FOR i IN 1..20 LOOP
        DELETE FROM parent WHERE id = 1 + (random() * 60000)::int;
        INSERT INTO parent SELECT n, 'new' FROM (SELECT max(id) + 1 AS n FROM parent) m;
        INSERT INTO child SELECT n, n FROM (SELECT max(id) AS n FROM parent) m ON CONFLICT DO NOTHING;
        COMMIT;
      END LOOP;
    END $$";

#[tokio::test]
async fn they_are_validated_before_the_stream_begins_where_one_pass_brings_both_tables() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE keys").await?;
    pair.source.run("keys", TABLES).await?;
    let mut controller = Controller::started(&pair.config())?;
    let state = "SELECT string_agg(subenabled::text, '') || ' ' || (SELECT convalidated FROM pg_constraint WHERE conname = 'child_parent_fkey')
                 FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()";
    let begun = Instant::now();
    loop {
        pair.source.run("keys", WRITE).await?;
        // Before the database is there, it can't be asked.
        match pair.destination.value("keys", state).await.as_deref() {
            Ok("false true") => break,
            Ok("true true") => return Err(Error::Broken("the foreign key waited for the stream".to_owned())),
            _ if begun.elapsed() > READY_LIMIT => {
                return Err(Error::Broken(format!("no foreign key was made:\n{}", controller.log_end())));
            }
            _ => {}
        }
    }
    // The one that does not hold is told, once, and nothing else is.
    let told = "(SELECT string_agg(object, ' ' ORDER BY object) LIKE '%broken_parent%'
                 FROM migrator.findings WHERE severity = 'error' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, Duration::from_mins(1)).await?;
    pair.source.run("keys", WRITE).await?;
    let count = "SELECT count(*) FROM migrator.findings WHERE severity = 'error' AND resolved_at IS NULL";
    assert_eq!(pair.destination.value("migrator", count).await?, "1", "{}", controller.log_end());
    drained(&pair.source).await?;
    let valid = "SELECT count(*) FILTER (WHERE convalidated) || ' of ' || count(*) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(pair.destination.value("keys", valid).await?, "1 of 2");
    compare::equal(&pair.source, &pair.destination, "keys").await.map(drop)
}
