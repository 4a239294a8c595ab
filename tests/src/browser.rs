//! A real browser without a window, driven through its debugging pipe.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::error::{Doing, Error, Result};

/// How long the browser may take to answer, or a page to become as it should be.
const LIMIT: Duration = Duration::from_secs(30);

/// The browser reads commands from descriptor 3 and answers on 4: here, our pipes.
const START: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

const FLAGS: [&str; 11] = [
    "--headless",
    // Root may not use the sandbox; the only pages loaded are the dashboard's own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1280,1000",
    "--remote-debugging-pipe",
];

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    // Dropped before the profile, which it writes to.
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    _profile: TempDir,
}

impl Browser {
    /// Opens a page in a new browser with a profile of its own.
    pub async fn open(address: &str) -> Result<Self> {
        let doing = || "starting the browser".to_owned();
        let profile = TempDir::with_prefix("pgm-browser-").doing(doing)?;
        let mut process = Command::new("sh")
            .args(["-c", START, "sh", program()?])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .doing(doing)?;
        let (Some(commands), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Error::Broken("the browser was started without pipes".to_owned()));
        };
        let mut browser =
            Self { process, commands, answers: BufReader::new(answers), session: None, last_id: 0, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true })).await?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({})).await?;
        browser.go(address).await?;
        Ok(browser)
    }

    /// Goes to another page.
    pub async fn go(&mut self, address: &str) -> Result<()> {
        let went = self.call("Page.navigate", json!({ "url": address })).await?;
        if let Some(error) = went["errorText"].as_str() {
            return Err(Error::Broken(format!("the browser can't open {address}: {error}")));
        }
        self.until("document.readyState === 'complete'").await
    }

    /// The value of an expression in the page.
    pub async fn value(&mut self, expression: &str) -> Result<Value> {
        let answer = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true })).await?;
        if let Some(exception) = answer.get("exceptionDetails") {
            return Err(Error::Broken(format!("{expression} fails in the page: {exception}")));
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&mut self, condition: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            // While a page loads there may be none to ask.
            let last = self.value(condition).await;
            if matches!(last, Ok(Value::Bool(true))) {
                return Ok(());
            }
            if begun.elapsed() > LIMIT {
                let text = self.value("document.body.innerText").await?;
                let state = format!("it was {last:?} on this page:\n{}", text.as_str().unwrap_or_default());
                return Err(Error::Timeout { what: condition.to_owned(), waited: begun.elapsed(), state });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the browser in good order.
    pub async fn close(mut self) -> Result<()> {
        self.session = None;
        self.call("Browser.close", json!({})).await?;
        match tokio::time::timeout(LIMIT, self.process.wait()).await {
            Ok(ended) => ended.map(drop).doing(|| "ending the browser".to_owned()),
            Err(_) => Err(Error::Broken("the browser does not end".to_owned())),
        }
    }

    /// Sends a command and waits for its answer; what the browser says in between is of no interest.
    async fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        let doing = || format!("telling the browser {method}");
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut message = command.to_string().into_bytes();
        message.push(0);
        self.commands.write_all(&message).await.doing(doing)?;
        loop {
            let mut bytes = Vec::new();
            let read = tokio::time::timeout(LIMIT, self.answers.read_until(0, &mut bytes)).await;
            let read = read.map_err(|_| Error::Timeout { what: doing(), waited: LIMIT, state: "no answer came".to_owned() })?;
            if read.doing(doing)? == 0 {
                return Err(Error::Broken(format!("{}: it has ended", doing())));
            }
            bytes.pop();
            let Ok(answer) = serde_json::from_slice::<Value>(&bytes) else { continue };
            if answer["id"] == json!(self.last_id) {
                return match answer.get("error") {
                    Some(error) => Err(Error::Broken(format!("{}: {error}", doing()))),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }
}

/// The browser's program.
fn program() -> Result<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["chromium", "google-chrome"]
        .into_iter()
        .find(|name| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
        .ok_or_else(|| Error::Broken("there is no chromium on this machine: run scripts/setup.sh --tests".to_owned()))
}
