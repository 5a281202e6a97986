//! What every test of the console does: sign in, go to a page, look at it.

use std::path::PathBuf;

use serde_json::json;

use super::support::axe::Axe;
use super::support::browser::Browser;

/// Not a page of the console, but of the same style.
pub const DOCS: &str = "docs";
pub const TAB: u32 = 9;
pub const ENTER: u32 = 13;
pub const ESCAPE: u32 = 27;
pub const ARROW_LEFT: u32 = 37;

/// Live, and neither a placeholder nor a picture or a chart that is still to come.
pub const LOADED: &str = "const count = (css) => document.querySelectorAll(css).length; \
     const isOverview = ['', '#/overview'].includes(location.hash); \
     return count('.connection.ok') === 1 && count('h1') === 1 && count('.skeleton') === 0 \
     && (!isOverview || (count('.station') === 7 && count('.chart-picture svg') === 4))";

/// Shows a page, and waits until it has what it shows.
pub async fn show(browser: &Browser, page: &str) {
    if page == DOCS {
        browser.open("/docs").await;
        browser.until("the calls", "return document.querySelectorAll('.operation').length > 10").await;
        return;
    }
    // Another query makes it a new document, so that nothing is left of the page before.
    browser.open(&format!("/console?page={}#/{page}", uuid::Uuid::new_v4().simple())).await;
    browser.until(page, LOADED).await;
}

/// Goes to a page as a click on a link does, in the document that is there, and waits until it has what it shows.
pub async fn go_to(browser: &Browser, page: &str) {
    // What was shown before is gone once the console has heard of it; it listens longer than this does.
    let go = format!(
        "const wanted = {}; if (location.hash === wanted) return; \
         const heard = new Promise((done) => addEventListener('hashchange', done, {{once: true}})); \
         location.hash = wanted; await heard",
        json!(format!("#/{page}"))
    );
    browser.promised(&go).await;
    browser.until(page, LOADED).await;
}

/// Returns before anything is loaded.
pub async fn enter(browser: &Browser, token: &str) {
    browser.open("/console").await;
    enter_token(browser, token).await;
}

/// Where one is asked for.
pub async fn enter_token(browser: &Browser, token: &str) {
    browser.fill("#token", token).await;
    browser.press("Tab", TAB).await;
    browser.click_on("form button[type=submit]").await;
}

pub async fn sign_in(browser: &Browser, token: &str) {
    enter(browser, token).await;
    browser.until("the overview", LOADED).await;
}

pub async fn prefer(browser: &Browser, theme: &str, language: &str) {
    let script = "localStorage.setItem('order-ledger.theme', arguments[0]); \
         localStorage.setItem('order-ledger.language', arguments[1])";
    browser.script(script, vec![json!(theme), json!(language)]).await;
}

/// Keeps a picture, where somebody wants to look at it.
pub async fn keep_picture(browser: &Browser, name: &str, width_px: u32) {
    let Some(directory) = std::env::var_os("LEDGER_TEST_SCREENSHOTS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&directory).unwrap();
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    std::fs::write(directory.join(format!("{name}.png")), browser.screenshot(width_px).await).unwrap();
}

/// What is shown fits, asks nobody else, can be used by everybody, and nothing went wrong.
pub async fn look_at(browser: &Browser, axe: Option<&Axe>, address: &str, width_px: u32, what: &str) {
    look_over(browser, axe, address, width_px, what).await;
    assert_nothing_went_wrong(browser, what).await;
}

/// The same where something does go wrong.
pub async fn look_over(browser: &Browser, axe: Option<&Axe>, address: &str, width_px: u32, what: &str) {
    let too_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(browser.script(too_wide, vec![]).await, json!(false), "{what} scrolls sideways");
    let foreign = browser.requested().await.into_iter().find(|url| !url.starts_with(address));
    assert_eq!(foreign, None, "{what} asks somebody else");
    if let Some(axe) = axe {
        let findings = axe.findings(browser).await;
        assert!(findings.is_empty(), "{what}: {findings:#?}");
    }
    keep_picture(browser, what, width_px).await;
}

pub async fn assert_nothing_went_wrong(browser: &Browser, where_it_is: &str) {
    let errors = browser.console_errors().await;
    assert!(errors.is_empty(), "{where_it_is}: {errors:#?}");
}
