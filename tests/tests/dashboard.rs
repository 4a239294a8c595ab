//! The dashboard over a real control database: what it answers, whom it answers, and what a browser makes of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pg_migrator_dashboard::{ControlDatabase, serve};
use pg_migrator_tests::browser::Browser;
use pg_migrator_tests::cluster::free_port;
use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::error::Doing as _;
use pg_migrator_tests::http::{self, Listening};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A mapping as the controller writes it, with names that must never be taken for markup.
const SAMPLE: &str = include_str!("../databases/dashboard.sql");

/// A name that would run a script if it were taken for markup, as a path segment of an address.
const HOSTILE_DATABASE: &str = "%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D%27owned%27%22%3E";

/// A dashboard being served.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<Result<(), pg_migrator_dashboard::Error>>,
}

impl Served {
    async fn start(databases: Vec<ControlDatabase>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.doing(|| "listening".to_owned())?;
        let address = listener.local_addr().doing(|| "listening".to_owned())?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, databases, async move {
            // A dropped sender asks to stop as well.
            stopped.await.ok();
        }));
        Ok(Self { address, stop, serving })
    }

    /// Asks again until an answer has a text.
    async fn until(&self, path: &str, text: &str) -> Result<http::Reply> {
        for _ in 0..150 {
            let reply = http::get(self.address, path).await?;
            if reply.body.contains(text) {
                return Ok(reply);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Error::Broken(format!("{path} never had {text:?}: {}", http::get(self.address, path).await?.body)))
    }
}

/// A server with the extension and the sample in its control database.
async fn control_server() -> Result<Cluster> {
    let cluster = Cluster::of(18).set("autovacuum", "off").start().await?;
    cluster.run("postgres", &format!("CREATE DATABASE {CONTROL}")).await?;
    cluster.run(CONTROL, "CREATE EXTENSION migrator CASCADE").await?;
    cluster.run(CONTROL, SAMPLE).await?;
    Ok(cluster)
}

fn control(name: &str, port: u16, role: &str, password: &str) -> ControlDatabase {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(role).password(password).dbname(CONTROL).connect_timeout(Duration::from_secs(5));
    ControlDatabase {
        name: name.to_owned(),
        connect: Arc::new(move || {
            let config = config.clone();
            Box::pin(async move {
                let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            })
        }),
    }
}

fn of(cluster: &Cluster, name: &str) -> ControlDatabase {
    control(name, cluster.port(), cluster.user(), cluster.password())
}

#[tokio::test]
async fn pages_json_and_metrics_say_what_the_views_hold() -> Result<()> {
    let cluster = control_server().await?;
    let served = Served::start(vec![of(&cluster, "erp_new")]).await?;

    let page = served.until("/", "erp_old").await?;
    assert_eq!(page.status, 200);
    for text in
        ["In Catchup", "15.12", "18.0", "75 %", "no_key", "ALTER TABLE public.log ADD PRIMARY KEY (…);", "2 of 3 checks hold"]
    {
        assert!(page.body.contains(text), "{text:?} is not on {}", page.body);
    }
    // A finding that was resolved is history, not news.
    assert!(!page.body.contains("resolved long ago"));
    let json: serde_json::Value =
        serde_json::from_str(&http::get(served.address, "/api/status").await?.body).expect("/api/status is JSON");
    let mapping = &json["control_databases"][0]["mappings"][0];
    assert_eq!((&mapping["status"], &mapping["finding_counts"]["warning"]), (&"in_catchup".into(), &1.into()));
    assert_eq!(mapping["databases"].as_array().map(Vec::len), Some(2));

    let metrics = http::get(served.address, "/metrics").await?;
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    for line in [
        "pg_migrator_control_database_up{control=\"erp_new\"} 1",
        "pg_migrator_lag_bytes{mapping=\"erp\",database=\"shop\"} 4096",
        "pg_migrator_lag_seconds{mapping=\"erp\",database=\"shop\"} 1.5",
        "pg_migrator_mapping_status{mapping=\"erp\",status=\"in_catchup\"} 1",
        "pg_migrator_findings{mapping=\"erp\",severity=\"error\"} 0",
        "pg_migrator_tables{mapping=\"erp\",database=\"<img src=x onerror=\\\"document.title='owned'\\\">\"} 1",
    ] {
        assert!(metrics.body.lines().any(|present| present == line), "{line} is not in\n{}", metrics.body);
    }
    assert_eq!(http::get(served.address, "/livez").await?.status, 200);
    assert_eq!(http::get(served.address, "/readyz").await?.status, 200);
    assert_eq!(http::get(served.address, "/mappings/erp/databases/none").await?.status, 404);
    assert_eq!(http::get(served.address, "/assets/../Cargo.toml").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn table_lists_are_sorted_filtered_and_paged() -> Result<()> {
    let cluster = control_server().await?;
    let served = Served::start(vec![of(&cluster, "erp_new")]).await?;
    served.until("/", "erp_old").await?;
    let list = async |query: &str| {
        Ok::<_, Error>(http::get(served.address, &format!("/mappings/erp/databases/shop{query}")).await?.body)
    };
    let position = |page: &str, name: &str| page.find(&format!("</span>.{name}<")).unwrap_or(usize::MAX);

    let first = list("").await?;
    assert!(first.contains("page 1 of 3") && first.contains("251 tables"), "{first}");
    assert!(position(&first, "broken") < position(&first, "t1"), "trouble comes first");
    assert!(first.contains("no binary form"));

    let largest = list("?sort=size&dir=desc").await?;
    assert!(position(&largest, "t250") < position(&largest, "t249") && position(&largest, "t1") == usize::MAX);
    let end = list("?sort=name&dir=asc&page=99").await?;
    assert!(end.contains("page 3 of 3") && end.contains(".t99<"), "{end}");

    // Wildcards and quotes of SQL mean nothing here.
    assert!(list("?q=T25").await?.contains("2 tables"));
    assert!(list("?q=%25").await?.contains("0 tables"));
    assert!(list("?q=%27%3B--").await?.contains("0 tables"));
    assert!(list("?status=problematic").await?.contains("1 table,"));
    Ok(())
}

#[tokio::test]
async fn one_failing_control_database_hides_nothing_of_the_others() -> Result<()> {
    let cluster = control_server().await?;
    let nobody = free_port()?;
    let served = Served::start(vec![control("crm_new", nobody, "postgres", "x"), of(&cluster, "erp_new")]).await?;
    let page = served.until("/", "erp_old").await?;
    assert!(page.body.contains("In Catchup"));
    let page = served.until("/", "No news from the control database on crm_new").await?;
    assert!(page.body.contains("erp_old"));
    let ready = http::get(served.address, "/readyz").await?;
    assert_eq!(ready.status, 200);
    assert!(ready.body.contains("erp_new: ok") && ready.body.contains("crm_new: no news"), "{}", ready.body);
    assert!(http::get(served.address, "/metrics").await?.body.contains("pg_migrator_control_database_up{control=\"crm_new\"} 0"));

    // The other one goes away too: what was known of it stays, marked as old, and leaves the metrics.
    drop(cluster);
    let page = served.until("/", "No news from the control database on erp_new").await?;
    assert!(page.body.contains("What is shown of it is as of then") && page.body.contains("erp_old"));
    served.until("/readyz", "erp_new: no news").await?;
    assert_eq!(http::get(served.address, "/readyz").await?.status, 503);
    assert!(!http::get(served.address, "/metrics").await?.body.contains("pg_migrator_lag_bytes{"));
    assert_eq!(http::get(served.address, "/livez").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn foreign_names_and_foreign_pages_are_refused() -> Result<()> {
    let served = Served::start(Vec::new()).await?;
    let own = served.address.to_string();
    let ask = async |method: &str, headers: &[(&str, &str)]| http::request(served.address, method, "/api/status", headers).await;
    assert_eq!(ask("GET", &[("Host", "localhost:8432")]).await?.status, 200);
    for host in ["evil.example", "127.0.0.1.evil.example", "192.0.2.1"] {
        let refused = ask("GET", &[("Host", host)]).await?;
        assert_eq!(refused.status, 421, "{host}");
        assert!(!refused.body.contains("control_databases"));
    }
    assert_eq!(ask("POST", &[("Host", &own)]).await?.status, 403);
    assert_eq!(ask("POST", &[("Host", &own), ("Origin", "https://evil.example")]).await?.status, 403);
    // From our own page it is not refused, but nothing takes it.
    assert_eq!(ask("POST", &[("Host", &own), ("Origin", &format!("http://{own}"))]).await?.status, 405);

    let page = http::get(served.address, "/").await?;
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("access-control-allow-origin"), None);
    Ok(())
}

#[tokio::test]
async fn it_needs_no_more_than_pg_monitor_and_writes_nothing() -> Result<()> {
    let cluster = control_server().await?;
    cluster.run(CONTROL, "CREATE ROLE watcher LOGIN PASSWORD 'look'; GRANT pg_monitor TO watcher").await?;
    // Whoever writes takes a transaction number; autovacuum is off.
    let next_number = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    let before = cluster.value(CONTROL, next_number).await?;
    let served = Served::start(vec![control("erp_new", cluster.port(), "watcher", "look")]).await?;
    served.until("/", "erp_old").await?;
    assert_eq!(http::get(served.address, "/mappings/erp/databases/shop").await?.status, 200);
    let session = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'watcher'";
    assert_eq!(cluster.value(CONTROL, session).await?, "1", "one connection a control database");
    assert_eq!(cluster.value(CONTROL, next_number).await?, before);
    Ok(())
}

#[tokio::test]
async fn changes_arrive_by_event_stream_and_streams_end_with_the_dashboard() -> Result<()> {
    let cluster = control_server().await?;
    let served = Served::start(vec![of(&cluster, "erp_new")]).await?;
    served.until("/", "erp_old").await?;
    let mut home = Listening::to(served.address, "/events").await?;
    home.until("event: outline").await?;
    home.until("event: tick").await?;
    let mut tables = Listening::to(served.address, "/mappings/erp/databases/shop/events?q=t25&sort=name").await?;
    tables.until("event: tick").await?;

    cluster.run(CONTROL, "INSERT INTO migrator.event (mapping, level, message) VALUES ('erp', 'info', 'a stone rolls')").await?;
    cluster.run(CONTROL, "UPDATE migrator.table_state SET rows_copied = 87654321 WHERE name = 't25'").await?;
    home.until("a stone rolls").await?;
    tables.until("87\u{202f}654\u{202f}321").await?;

    let Served { stop, serving, .. } = served;
    stop.send(()).expect("the dashboard is being served");
    home.to_the_end().await?;
    tables.to_the_end().await?;
    serving.await.expect("serving does not panic").expect("serving ends in good order");
    Ok(())
}

#[tokio::test]
async fn a_browser_shows_hostile_names_as_text_and_news_without_a_reload() -> Result<()> {
    let cluster = control_server().await?;
    let served = Served::start(vec![of(&cluster, "erp_new")]).await?;
    served.until("/", "erp_old").await?;
    let mut browser = Browser::open(&format!("http://{}/", served.address)).await?;
    browser.until("document.body.innerText.includes('In Catchup')").await?;
    browser.value("window.notReloaded = true").await?;

    cluster
        .run(
            CONTROL,
            "UPDATE migrator.mapping SET status = 'problematic', phase = '<b>stuck</b>';
             INSERT INTO migrator.event (mapping, level, message)
             VALUES ('erp', 'error', '<img src=x onerror=\"document.title=''owned''\"><script>document.title=\"owned\"</script>')",
        )
        .await?;
    browser.until("document.body.innerText.includes('Problematic') && document.body.innerText.includes('<b>stuck</b>')").await?;
    browser.until("document.body.innerText.includes('<script>document.title=')").await?;
    browser.until("document.title.startsWith('Problematic')").await?;
    assert_eq!(browser.value("window.notReloaded === true").await?, true);
    assert_eq!(browser.value("document.querySelectorAll('main img, main script, main b').length").await?, 0);

    browser.go(&format!("http://{}/mappings/erp/databases/{HOSTILE_DATABASE}", served.address)).await?;
    browser.until("document.body.innerText.includes('</th><script>document.title=')").await?;
    assert_eq!(browser.value("document.querySelectorAll('main img, main script').length").await?, 0);
    assert_eq!(browser.value("document.title.startsWith('Synced · <img')").await?, true);
    browser.close().await
}

#[tokio::test]
async fn a_browser_follows_a_migration_until_it_is_ready() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "shop", 1).await?;
    let hostile = "CREATE TABLE public.\"<img src=x onerror=document.title='owned'>\" (id integer PRIMARY KEY)";
    pair.source.run("shop", hostile).await?;
    let port = free_port()?;
    let mut controller = Controller::started(&pair.config().dashboard(port))?;
    controller.wait_for(&pair.destination, "EXISTS (SELECT FROM migrator.databases)", READY_LIMIT).await?;

    let mut browser = Browser::open(&format!("http://127.0.0.1:{port}/")).await?;
    browser.until("document.body.innerText.includes('erp_old')").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    browser.until("document.body.innerText.includes('Cutover Ready')").await?;
    browser.value("window.notReloaded = true").await?;

    browser.go(&format!("http://127.0.0.1:{port}/mappings/{MAPPING}/databases/shop")).await?;
    browser.until("document.body.innerText.includes('<img src=x onerror=')").await?;
    assert_eq!(browser.value("document.querySelectorAll('main img').length").await?, 0);
    browser.close().await?;
    controller.stop().await
}
