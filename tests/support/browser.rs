//! A real Chromium without a window, driven by WebDriver, where it is installed.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::http::Method;
use fantoccini::elements::Element;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use super::{eventually, free_port};

/// Longer than anything on a page takes; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
const HEIGHT_PX: u32 = 900;

/// The driver, and the browser that it starts. Dropped, by a test that fails before there is a page as well: gone.
struct Driver(Child);

impl Driver {
    /// In a group of its own, so that all that it starts ends with it.
    fn start(port: u16) -> Self {
        let mut driver = Command::new("chromedriver");
        driver.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self(driver.spawn().unwrap())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: kill has no memory effects; the group is the driver's, which is not yet waited for.
        unsafe {
            libc::kill(-(self.0.id() as i32), libc::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

/// A browser with a profile of its own. Dropped: gone, and its driver with it.
pub struct Browser {
    // Before the profile: who writes into it is gone when it is removed.
    _driver: Driver,
    pub page: Client,
    base: String,
    _profile: TempDir,
}

impl Browser {
    /// None, and said so, where there is no Chromium or no driver for it.
    pub async fn start_if_available(base: &str) -> Option<Self> {
        let is_there = |program: &str| {
            let mut version = Command::new(program);
            version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        };
        if !is_there("chromedriver") || !is_there("chromium") {
            eprintln!("skipped: Chromium and its driver are needed to look at the console");
            return None;
        }
        let port = free_port();
        let driver = Driver::start(port);
        eventually("chromedriver to listen", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        let profile = tempfile::Builder::new().prefix("order-ledger-chromium-").tempdir().unwrap();
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&profile))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a session of Chromium");
        Some(Self { _driver: driver, page, base: base.to_owned(), _profile: profile })
    }

    /// As wide as asked: a window can't be narrower than 500 px, a device can.
    pub async fn set_width(&self, width_px: u32) {
        let device = json!({"width": width_px, "height": HEIGHT_PX, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", device).await;
    }

    /// Loads an address of the instance anew.
    pub async fn open(&self, path: &str) {
        self.page.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// Runs a script in the page; `arguments` are its own.
    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.page.execute(script, arguments).await.unwrap()
    }

    /// Waits until a script answers something true.
    pub async fn until(&self, what: &str, script: &str) -> Value {
        let since = Instant::now();
        loop {
            let answer = self.page.execute(script, Vec::new()).await;
            match answer {
                Ok(value) if value != json!(false) && value != Value::Null => return value,
                _ => {}
            }
            if since.elapsed() > PATIENCE {
                panic!("waited for {what}; the page says:\n{}", self.text().await);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn until_text(&self, text: &str) {
        let script = format!("return document.body.innerText.includes({})", json!(text));
        self.until(text, &script).await;
    }

    pub async fn text(&self) -> String {
        self.script("return document.body.innerText", Vec::new()).await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn find(&self, css: &str) -> Element {
        self.until(css, &format!("return document.querySelector({}) !== null", json!(css))).await;
        self.page.find(Locator::Css(css)).await.unwrap()
    }

    pub async fn click_on(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    /// Clicks what has this text, or this name for those who do not see it.
    pub async fn click(&self, text: &str) {
        let script = format!(
            "const all = [...document.querySelectorAll('button, a, summary')].filter((one) => one.checkVisibility() && !one.disabled); \
             const open = all.filter((one) => !document.querySelector('dialog[open]') || one.closest('dialog[open]')); \
             const found = open.find((one) => one.innerText.trim() === {0} || one.getAttribute('aria-label') === {0}); \
             found?.click(); return found !== undefined",
            json!(text)
        );
        self.until(text, &script).await;
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let input = self.find(css).await;
        input.clear().await.unwrap();
        input.send_keys(text).await.unwrap();
    }

    /// Runs a script that promises something, and waits for it.
    pub async fn promised(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (error) => done(String(error)))"
        );
        self.page.execute_async(&script, Vec::new()).await.unwrap()
    }

    /// What went wrong in the page since the last time it was asked.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.page.issue_cmd(BrowserLog).await.unwrap();
        let entries = entries.as_array().cloned().unwrap_or_default();
        let is_error = |entry: &&Value| entry["level"] != "INFO" && entry["level"] != "DEBUG";
        entries.iter().filter(is_error).map(|entry| entry["message"].to_string()).collect()
    }

    /// Every address that was loaded or asked since the page was opened or this was asked: the browser keeps 250 of them.
    pub async fn requested(&self) -> Vec<String> {
        let take = "const urls = performance.getEntriesByType('resource').map((one) => one.name); \
             performance.clearResourceTimings(); return urls";
        serde_json::from_value(self.script(take, vec![]).await).unwrap()
    }

    /// The whole page as a PNG.
    pub async fn screenshot(&self, width_px: u32) -> Vec<u8> {
        let height = self.script("return Math.min(6000, document.documentElement.scrollHeight)", vec![]).await;
        let device = json!({"width": width_px, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", device).await;
        let png = self.page.screenshot().await.unwrap();
        self.set_width(width_px).await;
        png
    }

    /// Presses a key as a person does, so that the browser moves the focus.
    pub async fn press(&self, key: &str, virtual_key_code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" { "\r" } else { "" };
            let event =
                json!({"type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": virtual_key_code});
            self.devtools("Input.dispatchKeyEvent", event).await;
        }
    }

    pub async fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        self.page.issue_cmd(DevTools { command, parameters }).await.unwrap()
    }

    pub async fn close(self) {
        let _ = self.page.clone().close().await;
    }
}

fn capabilities(profile: &TempDir) -> Capabilities {
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        &format!("--user-data-dir={}", profile.path().display()),
    ];
    let wanted = json!({
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    serde_json::from_value(wanted).unwrap()
}

#[derive(Debug)]
struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

#[derive(Debug)]
struct DevTools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"cmd": self.command, "params": self.parameters}).to_string()))
    }
}
