//! A role that the destination has already: added to, left alone, or refused, as the mapping says.

use pg_migrator_tests::pair::READY_LIMIT;
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Mapping, Result};

/// What a destination says of a role: its attributes, its password, its limit, its comment, its settings, what it is a member of.
async fn described(cluster: &Cluster, role: &str) -> Result<String> {
    cluster
        .value(
            "postgres",
            &format!(
                "SELECT concat_ws(' | ', rolcanlogin, rolcreatedb, rolsuper, rolconnlimit, rolpassword,
                                  shobj_description(oid, 'pg_authid'),
                                  (SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0),
                                  ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = a.oid ORDER BY 1)::text)
                 FROM pg_authid a WHERE rolname = '{role}'"
            ),
        )
        .await
}

#[tokio::test]
async fn a_role_that_is_there_is_added_to_or_left_alone_or_refused() -> Result<()> {
    let (source, merged, skipped, failed) =
        tokio::try_join!(Cluster::start(15), Cluster::start(18), Cluster::start(18), Cluster::start(18))?;
    source
        .run(
            "postgres",
            "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'of the source' CONNECTION LIMIT 1; COMMENT ON ROLE app IS 'from the source';
             CREATE ROLE readers; GRANT readers TO app; ALTER ROLE app SET work_mem = '7MB'; ALTER ROLE app SET my.own = 'new'",
        )
        .await?;
    for database in ["one", "two", "three"] {
        source.run("postgres", &format!("CREATE DATABASE {database} OWNER app")).await?;
        source.run(database, "CREATE TABLE t (id integer PRIMARY KEY)").await?;
    }
    for destination in [&merged, &skipped, &failed] {
        destination
            .run(
                "postgres",
                "CREATE ROLE app CREATEDB PASSWORD 'of the destination' CONNECTION LIMIT 5; ALTER ROLE app SET work_mem = '1MB'",
            )
            .await?;
    }
    let before = described(&skipped, "app").await?;
    let refused_before = described(&failed, "app").await?;
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let old_password = merged.value("postgres", password).await?;
    let config = ConfigFile::new()
        .instance("old", &source)
        .instance("merged", &merged)
        .instance("skipped", &skipped)
        .instance("failed", &failed)
        .mapping(&Mapping::new("merge", "old", "merged").databases(&["one"]))
        .mapping(&Mapping::new("skip", "old", "skipped").databases(&["two"]).line("roles = \"skip\""))
        .mapping(&Mapping::new("fail", "old", "failed").databases(&["three"]).line("roles = \"fail\""));
    let mut controller = Controller::new(&config)?;
    let checked = controller.check().await?;
    checked.must_have(&[
        ("error", "", "role_exists", "\"app\""),
        ("warning", "", "role_lacks_attribute", "\"app\""),
        ("info", "", "role_differs", "\"app\""),
    ])?;
    assert_eq!(checked.codes("error"), ["role_exists"]);
    controller.start()?;
    controller.wait_until_ready(&merged, "merge", READY_LIMIT).await?;
    controller.wait_until_ready(&skipped, "skip", READY_LIMIT).await?;
    // What it lacked was added; password, limit and setting are its own; nobody became a superuser.
    let expected = format!("t | t | f | 5 | {old_password} | from the source | {{work_mem=1MB,my.own=new}} | {{readers}}");
    assert_eq!(described(&merged, "app").await?, expected);
    assert_eq!(described(&skipped, "app").await?, before);
    let refused = "(SELECT count(*) > 0 FROM migrator.findings WHERE code = 'role_exists' AND resolved_at IS NULL)";
    controller.wait_for(&failed, refused, READY_LIMIT).await?;
    assert_eq!(failed.databases().await?, ["migrator"], "nothing was made of the refused mapping");
    assert_eq!(described(&failed, "app").await?, refused_before);
    Ok(())
}
