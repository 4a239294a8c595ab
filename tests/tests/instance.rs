//! What belongs to the instance arrives as `pg_dumpall` would carry it: roles with everything they have, what they may set, databases with their
//! definition.

use std::fmt::Write as _;

use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, dump_diff};

/// Roles of every version; names and values as nasty as they may be.
const ROLES: &str = r#"
CREATE ROLE boss SUPERUSER NOINHERIT CREATEDB CREATEROLE LOGIN REPLICATION BYPASSRLS PASSWORD 'secret';
CREATE ROLE "robert'); DROP ROLE boss; --" LOGIN CONNECTION LIMIT 0 VALID UNTIL 'infinity';
CREATE ROLE "Größe ""quoted"" \ back" NOLOGIN CONNECTION LIMIT 3 VALID UNTIL '2030-02-28 23:59:59.5+05:30';
CREATE ROLE "select" VALID UNTIL '-infinity';
CREATE ROLE "            a name of 63 bytes with spaces in front of it, and more" NOINHERIT;
COMMENT ON ROLE boss IS E'it''s\nthe "boss"; \\ \t--';
COMMENT ON ROLE "select" IS 'SELECT 1;';
SET password_encryption = 'md5';
CREATE ROLE md5_user LOGIN PASSWORD 'old fashioned';
SET password_encryption = 'scram-sha-256';
CREATE ROLE scram_user LOGIN PASSWORD 'it''s \ "odd"';
ALTER ROLE boss SET search_path = "We ird", 'it''s', "$user", public;
ALTER ROLE boss SET work_mem = '7MB';
ALTER ROLE boss SET application_name = E'a\nb\\c''d"e=f';
ALTER ROLE boss SET my.own = '';
ALTER ROLE "select" SET "DateStyle" = 'ISO, DMY';
ALTER ROLE "robert'); DROP ROLE boss; --" SET session_preload_libraries = '';
CREATE ROLE "group";
CREATE ROLE deputy LOGIN;
CREATE ROLE "member, plain";
CREATE ROLE quiet NOINHERIT;
GRANT "group" TO deputy WITH ADMIN OPTION;
SET SESSION AUTHORIZATION deputy;
GRANT "group" TO "member, plain";
RESET SESSION AUTHORIZATION;
GRANT "group" TO quiet;
GRANT pg_monitor TO "member, plain" WITH ADMIN OPTION;
GRANT boss TO quiet;
"#;

/// Since 15 roles may be let set parameters.
const PARAMETERS: &str = r#"
GRANT SET ON PARAMETER work_mem, my.custom TO "select";
GRANT SET, ALTER SYSTEM ON PARAMETER log_statement TO deputy WITH GRANT OPTION;
SET SESSION AUTHORIZATION deputy;
GRANT SET ON PARAMETER log_statement TO "member, plain";
RESET SESSION AUTHORIZATION;
GRANT SET ON PARAMETER "DateStyle" TO PUBLIC;
"#;

/// Since 16 a membership has options, and grantors mean something.
const OPTIONS: &str = r#"
GRANT "select" TO deputy WITH INHERIT FALSE, SET FALSE, ADMIN TRUE;
GRANT "select" TO quiet WITH INHERIT TRUE;
SET SESSION AUTHORIZATION deputy;
GRANT "select" TO "member, plain" WITH SET FALSE;
RESET SESSION AUTHORIZATION;
"#;

/// A database that has everything that a database may have.
const DATABASE: &str = r#"
COMMENT ON DATABASE "We ird" IS E'it''s\na "database"; --';
ALTER DATABASE "We ird" SET search_path = "We ird", 'it''s';
ALTER DATABASE "We ird" SET my.own = E'a\nb';
ALTER DATABASE "We ird" SET default_transaction_isolation = 'repeatable read';
ALTER ROLE boss IN DATABASE "We ird" SET work_mem = '9MB';
ALTER ROLE "select" IN DATABASE "We ird" SET search_path = 'it''s';
REVOKE ALL ON DATABASE "We ird" FROM PUBLIC;
GRANT CONNECT ON DATABASE "We ird" TO deputy WITH GRANT OPTION;
SET SESSION AUTHORIZATION deputy;
GRANT CONNECT ON DATABASE "We ird" TO "member, plain";
RESET SESSION AUTHORIZATION;
"#;

async fn arrives_as_pg_dumpall_would_carry_it(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    let yardstick = Cluster::start(18).await?;
    let mut script = ROLES.to_owned();
    let mut databases = vec!["We ird"];
    script.push_str("CREATE DATABASE \"We ird\" OWNER boss CONNECTION LIMIT 7 IS_TEMPLATE true;\n");
    script.push_str(DATABASE);
    if major >= 15 {
        script.push_str(PARAMETERS);
        databases.push("icu");
        let rules = if major >= 16 { " ICU_RULES '&v < w'" } else { "" };
        // Writing to a String can't fail.
        let _ = writeln!(script, "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT'{rules};");
    }
    if major >= 16 {
        script.push_str(OPTIONS);
    }
    if major >= 17 {
        databases.push("built_in");
        script.push_str("CREATE DATABASE built_in TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8';\n");
    }
    dump_diff::psql(&pair.source, "postgres", &script)?;
    dump_diff::copy_globals(&pair.source, &yardstick)?;
    for database in &databases {
        pair.source.run(database, "CREATE TABLE public.t (id integer PRIMARY KEY)").await?;
        dump_diff::copy_database(&pair.source, &yardstick, database)?;
    }
    let mut controller = Controller::new(&pair.config())?;
    let checked = controller.check().await?;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.has("info", "", "md5_password", "md5_user"), "{checked:?}");
    assert!(!checked.has("warning", "", "contents_left", ""), "template1 and postgres are as initdb made them: {checked:?}");
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    let mut broken = Vec::new();
    let expected = dump_diff::globals(&yardstick, &["postgres"])?;
    let found = dump_diff::globals(&pair.destination, &["postgres", "migrator_operator"])?;
    assert!(expected.contains("DROP ROLE boss") && expected.contains("SCRAM-SHA-256"), "the yardstick has what is compared");
    broken.extend(dump_diff::same("roles", &expected, &found).err());
    for database in databases {
        let (expected, found) = (dump_diff::schema(&yardstick, database)?, dump_diff::schema(&pair.destination, database)?);
        broken.extend(dump_diff::same(database, &expected, &found).err());
    }
    // The lines about memberships name the superuser as well: these are compared by themselves.
    let memberships =
        "SELECT concat_ws(' | ', roleid::regrole, member::regrole, grantor::regrole, admin_option, inherit_option, set_option)
                       FROM pg_auth_members WHERE roleid >= 16384 OR member >= 16384 ORDER BY 1";
    let expected = yardstick.column("postgres", memberships).await?;
    let found = pair.destination.column("postgres", memberships).await?;
    assert_eq!(expected.len(), if major >= 16 { 8 } else { 5 }, "{expected:?}");
    broken.extend(dump_diff::same("memberships", &expected.join("\n"), &found.join("\n")).err());
    // The passwords are the old ones.
    pair.destination.connect_as("scram_user", "it's \\ \"odd\"", "postgres").await?;
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::Broken(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")))
}

#[tokio::test]
async fn the_instance_of_postgresql_10_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(10).await
}

#[tokio::test]
async fn the_instance_of_postgresql_13_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(13).await
}

#[tokio::test]
async fn the_instance_of_postgresql_15_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(15).await
}

#[tokio::test]
async fn the_instance_of_postgresql_17_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(17).await
}
