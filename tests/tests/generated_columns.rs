//! Generated columns, whose rules changed between 12 and 18: what 18 refuses is told before anything is written, and all else arrives as it
//! is.

use std::collections::BTreeSet;

use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare, schema};

/// In inheritance, a column that is generated on one side only: every version lets ADD COLUMN bring that about.
const MIXED: &str = "
    CREATE SCHEMA g;
    CREATE TABLE g.plain_parent (a int);
    CREATE TABLE g.generated_child (b int GENERATED ALWAYS AS (a * 2) STORED) INHERITS (g.plain_parent);
    ALTER TABLE g.plain_parent ADD COLUMN b int;
    CREATE TABLE g.generated_parent (a int);
    CREATE TABLE g.plain_child (b int DEFAULT 7) INHERITS (g.generated_parent);
    ALTER TABLE g.generated_parent ADD COLUMN b int GENERATED ALWAYS AS (a * 3) STORED;
";

/// The same for a partition, until 15.
const MIXED_PARTITION: &str = "
    CREATE TABLE g.root (a int, b int) PARTITION BY LIST (a);
    CREATE TABLE g.leaf (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
    ALTER TABLE g.root ATTACH PARTITION g.leaf FOR VALUES IN (1);
";

/// What arrives: parents of one mind and of several, children with and without a word of their own.
const SOUND: &str = "
    CREATE SCHEMA s;
    CREATE TABLE s.base (a int, b int GENERATED ALWAYS AS (a + 1) STORED);
    CREATE TABLE s.derived () INHERITS (s.base);
    CREATE TABLE s.one (a int, b int DEFAULT 1);
    CREATE TABLE s.two (a int, b int DEFAULT 2);
    CREATE TABLE s.third (b int DEFAULT 3) INHERITS (s.one, s.two);
    CREATE TABLE s.first () INHERITS (s.one);
    ALTER TABLE s.first INHERIT s.two;
    CREATE TABLE s.none (b int DEFAULT 3) INHERITS (s.one, s.two);
    ALTER TABLE s.none ALTER b DROP DEFAULT;
    CREATE TABLE s.adopted (a int, b int);
    ALTER TABLE s.adopted INHERIT s.one;
    CREATE TABLE s.root (a int, b int GENERATED ALWAYS AS (a + 1) STORED) PARTITION BY LIST (a);
    CREATE TABLE s.leaf PARTITION OF s.root FOR VALUES IN (1);
";

/// From 16 on a child has an expression of its own, and so may its parents.
const SOUND_16: &str = "
    CREATE TABLE s.other (b int GENERATED ALWAYS AS (a + 2) STORED) INHERITS (s.base);
    CREATE TABLE s.base_too (a int, b int GENERATED ALWAYS AS (a + 3) STORED);
    CREATE TABLE s.of_both (b int GENERATED ALWAYS AS (a + 1) STORED) INHERITS (s.base, s.base_too);
    CREATE TABLE s.of_both_too (b int GENERATED ALWAYS AS (a + 3) STORED) INHERITS (s.base, s.base_too);
";

/// Every column with its default or expression.
const COLUMNS: &str = "
    SELECT a.attrelid::regclass || '.' || a.attname || ' ' || a.attgenerated::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '-')
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('s'::regnamespace, 'g'::regnamespace)) AND a.attnum > 0
    ORDER BY 1";

async fn generated_columns_arrive_or_are_told(major: u32) -> Result<()> {
    let (source, destination) = tokio::try_join!(Cluster::start(major), Cluster::start(18))?;
    source.run("postgres", "CREATE DATABASE mixed").await?;
    let (partition, sound) = if major < 16 { (MIXED_PARTITION, "") } else { ("", SOUND_16) };
    source.run("mixed", &format!("{MIXED} {partition} {SOUND} {sound}")).await?;
    let told = schema::carry(&source, &destination, "mixed").await?;
    let told: BTreeSet<String> = told
        .iter()
        .filter_map(|one| one.strip_prefix("finding "))
        .map(|one| one.split(';').next().unwrap_or(one).replace('"', ""))
        .collect();
    let mut expected = vec![
        "generated_column: table g.generated_child: column b is generated, and it is not in its parent g.plain_parent",
        "generated_column: table g.plain_child: column b is not generated, and it is in its parent g.generated_parent",
    ];
    if major < 16 {
        expected.push("generated_column: table g.leaf: column b is generated, and it is not in its parent g.root");
    }
    assert_eq!(told, expected.into_iter().map(str::to_owned).collect());
    if major < 13 {
        return Ok(());
    }

    // As the findings say.
    source
        .run(
            "mixed",
            "ALTER TABLE g.generated_child NO INHERIT g.plain_parent;
             ALTER TABLE g.generated_child ALTER COLUMN b DROP EXPRESSION;
             ALTER TABLE g.generated_child INHERIT g.plain_parent;
             ALTER TABLE g.generated_parent ALTER COLUMN b DROP EXPRESSION IF EXISTS",
        )
        .await?;
    if major < 16 {
        let leaf = "ALTER TABLE g.root DETACH PARTITION g.leaf; ALTER TABLE g.leaf ALTER COLUMN b DROP EXPRESSION;
                    ALTER TABLE g.root ATTACH PARTITION g.leaf FOR VALUES IN (1)";
        source.run("mixed", leaf).await?;
    }
    destination.run("postgres", "DROP DATABASE mixed").await?;
    let failed = schema::carry(&source, &destination, "mixed").await?;
    if !failed.is_empty() {
        return Err(Error::Broken(failed.join("\n\n")));
    }
    assert_eq!(destination.column("mixed", COLUMNS).await?, source.column("mixed", COLUMNS).await?);
    Ok(())
}

#[tokio::test]
async fn generated_columns_of_12_arrive_or_are_told() -> Result<()> {
    generated_columns_arrive_or_are_told(12).await
}

#[tokio::test]
async fn generated_columns_of_15_arrive_or_are_told() -> Result<()> {
    generated_columns_arrive_or_are_told(15).await
}

#[tokio::test]
async fn generated_columns_of_17_arrive_or_are_told() -> Result<()> {
    generated_columns_arrive_or_are_told(17).await
}

/// Keys with a column that is not sent.
const KEYS: &str = "
    CREATE TABLE only_key (base int NOT NULL, note text, twice int GENERATED ALWAYS AS (base * 2) STORED PRIMARY KEY);
    CREATE TABLE another_key (base int NOT NULL UNIQUE, note text, twice int GENERATED ALWAYS AS (base * 2) STORED PRIMARY KEY);
    CREATE TABLE included (base int, note text, twice int GENERATED ALWAYS AS (base * 2) STORED, PRIMARY KEY (base) INCLUDE (twice));
    CREATE TABLE by_index (base int, note text, twice int GENERATED ALWAYS AS (base * 2) STORED NOT NULL UNIQUE);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_twice_key;
    INSERT INTO only_key SELECT n, 'row ' || n FROM generate_series(1, 100) n;
    INSERT INTO another_key SELECT n, 'row ' || n FROM generate_series(1, 100) n;
    INSERT INTO included SELECT n, 'row ' || n FROM generate_series(1, 100) n;
    INSERT INTO by_index SELECT n, 'row ' || n FROM generate_series(1, 100) n;
";

#[tokio::test]
async fn a_key_with_a_generated_column_is_told_and_another_one_is_used() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE keys").await?;
    pair.source.run("keys", KEYS).await?;
    let mut controller = Controller::new(&pair.config())?;
    let checked = controller.check().await?;
    let told: Vec<&str> = checked.findings.iter().filter(|f| f.severity == "error").map(|f| f.object.as_str()).collect();
    assert_eq!(told, ["public.only_key"]);
    checked.must_have(&[("error", "keys", "table_key_generated", "only_key")])?;

    // As the finding says.
    pair.source.run("keys", "CREATE UNIQUE INDEX ON only_key (base)").await?;
    assert_eq!(controller.check().await?.codes("error"), [""; 0]);
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    for table in ["only_key", "another_key", "included", "by_index"] {
        let writes = format!(
            "UPDATE {table} SET note = 'changed' WHERE base % 7 = 0; UPDATE {table} SET base = base + 1000 WHERE base % 5 = 0;
             DELETE FROM {table} WHERE base % 11 = 0"
        );
        pair.source.run("keys", &writes).await?;
    }
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "keys").await?;
    assert_eq!(
        pair.destination.value("migrator", "SELECT count(*) FROM migrator.findings WHERE code = 'apply_conflict'").await?,
        "0"
    );
    Ok(())
}
