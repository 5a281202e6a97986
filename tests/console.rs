//! The console in a real Chromium, on a real instance with real orders.
//!
//! `LEDGER_TEST_SCREENSHOTS=<directory>` keeps a picture of every page, in both widths, themes and languages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

#[path = "console/scene.rs"]
mod scene;

use std::path::PathBuf;
use std::time::Duration;

use api::auth::Role;
use scene::Scene;
use serde_json::json;
use support::axe::Axe;
use support::browser::Browser;

/// Each width with each theme and each language, and both themes with each language: more would show nothing else.
const WAYS: [(u32, &str, &str); 4] =
    [(390, "light", "en"), (390, "dark", "zh"), (1_440, "dark", "en"), (1_440, "light", "zh")];
/// Not a page of the console, but of the same style.
const DOCS: &str = "docs";
const TAB: u32 = 9;
const ENTER: u32 = 13;

/// Shows a page, and waits until it has what it shows.
async fn show(browser: &Browser, page: &str) {
    if page == DOCS {
        browser.open("/docs").await;
        browser.until("the calls", "return document.querySelectorAll('.operation').length > 10").await;
        return;
    }
    // Another query makes it a new document, so that nothing is left of the page before.
    browser.open(&format!("/console?page={}#/{page}", uuid::Uuid::new_v4().simple())).await;
    browser.until(page, LOADED).await;
}

/// Live, and neither a placeholder nor a chart that is still to come.
const LOADED: &str = "return document.querySelector('.connection.ok') !== null && document.querySelector('h1') !== null \
     && document.querySelector('.skeleton') === null \
     && [...document.querySelectorAll('.chart-picture')].every((one) => one.childElementCount > 0)";

async fn sign_in(browser: &Browser, token: &str) {
    browser.open("/console").await;
    browser.fill("#token", token).await;
    browser.press("Tab", TAB).await;
    browser.click("Sign in").await;
    browser.until("the overview", LOADED).await;
}

async fn prefer(browser: &Browser, theme: &str, language: &str) {
    let script = "localStorage.setItem('order-ledger.theme', arguments[0]); \
         localStorage.setItem('order-ledger.language', arguments[1])";
    browser.script(script, vec![json!(theme), json!(language)]).await;
}

/// Keeps a picture, where somebody wants to look at it.
async fn keep_picture(browser: &Browser, name: &str, width_px: u32) {
    let Some(directory) = std::env::var_os("LEDGER_TEST_SCREENSHOTS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&directory).unwrap();
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    std::fs::write(directory.join(format!("{name}.png")), browser.screenshot(width_px).await).unwrap();
}

async fn assert_nothing_went_wrong(browser: &Browser, where_it_is: &str) {
    let errors = browser.console_errors().await;
    assert!(errors.is_empty(), "{where_it_is}: {errors:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_shown_in_both_languages_themes_and_widths_and_asks_nobody_else() {
    let scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    let axe = Axe::fetch_if_available();
    sign_in(&browser, &scene.token(Role::Operator)).await;
    for (width_px, theme, language) in WAYS {
        browser.set_width(width_px).await;
        prefer(&browser, theme, language).await;
        for page in scene.pages().into_iter().chain([DOCS.to_owned()]) {
            let way = format!("{page} {width_px} {theme} {language}");
            show(&browser, &page).await;
            let too_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(browser.script(too_wide, vec![]).await, json!(false), "{way} scrolls sideways");
            let tag = if language == "zh" { "zh-CN" } else { "en" };
            assert_eq!(browser.script("return document.documentElement.lang", vec![]).await, tag, "{way}");
            let foreign = browser.requested().await.into_iter().find(|url| !url.starts_with(scene.address()));
            assert_eq!(foreign, None, "{way} asks somebody else");
            // Both widths and languages have the same structure; colours and layout do not.
            if let Some(axe) = axe.as_ref().filter(|_| language == "en") {
                let findings = axe.findings(&browser).await;
                assert!(findings.is_empty(), "{way}: {findings:#?}");
            }
            keep_picture(&browser, &way, width_px).await;
            assert_nothing_went_wrong(&browser, &way).await;
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_dead_letters_is_redriven_and_a_read_model_rebuilt_by_clicking() {
    let scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    browser.set_width(1_440).await;
    sign_in(&browser, &scene.token(Role::Operator)).await;

    show(&browser, "dead-letters").await;
    let group = "Redrive group: order, order-create: failed: the provider was away";
    browser.click(group).await;
    let letters = scene.redrivable_letters();
    browser.until_text(&format!("{letters} messages of {letters} keys would be applied.")).await;
    browser.click(&format!("Redrive {letters}")).await;
    browser.until_text(&format!("{letters} of {letters} delivered")).await;
    browser.until_text("All of them were applied.").await;
    show(&browser, "dead-letters").await;
    assert!(!browser.text().await.contains("the provider was away"), "the group is gone");

    show(&browser, "projections").await;
    browser.click("Rebuild: orders").await;
    browser.click("Rebuild").await;
    browser.until_text("Equal to the one before, row by row.").await;

    show(&browser, "audit").await;
    browser.until_text("user:1").await;
    keep_picture(&browser, "audit after a redrive and a rebuild", 1_440).await;
    show(&browser, "redrives").await;
    keep_picture(&browser, "redrives after one", 1_440).await;
    assert_nothing_went_wrong(&browser, "after a redrive and a rebuild").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_sees_what_their_role_may_until_the_token_ends() {
    let scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    browser.set_width(1_440).await;
    browser.open("/console").await;
    for (token, said) in [
        ("nonsense".to_owned(), "That is not a token"),
        (scene.token(Role::User), "This token has no role that may see the console"),
    ] {
        browser.fill("#token", &token).await;
        browser.click("Sign in").await;
        browser.until_text(said).await;
    }

    sign_in(&browser, &scene.token(Role::Auditor)).await;
    browser.until_text("Read-only").await;
    show(&browser, "projections").await;
    let buttons = "return [...document.querySelectorAll('main button')].every((one) => one.disabled && one.title.includes('look'))";
    assert_eq!(browser.script(buttons, vec![]).await, json!(true), "an auditor's buttons do nothing and say why");
    let status = "const done = arguments[arguments.length - 1]; \
         const headers = {authorization: `Bearer ${sessionStorage.getItem('order-ledger.token')}`}; \
         fetch('/v1/admin/projections/orders/rebuild', {method: 'POST', headers}).then((answer) => done(answer.status))";
    assert_eq!(browser.page.execute_async(status, vec![]).await.unwrap(), json!(403), "and the server refuses anyway");

    browser.click("Sign out").await;
    sign_in(&browser, &scene.token_for(Role::Operator, Duration::from_secs(15))).await;
    browser.until_text("Your token has expired. Sign in with a new one.").await;
    assert_eq!(browser.script("return sessionStorage.length", vec![]).await, json!(0), "the token is forgotten");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_and_done_by_keyboard() {
    let scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    browser.set_width(1_440).await;
    sign_in(&browser, &scene.token(Role::Operator)).await;
    for page in ["overview", "orders", "dead-letters", "rollout"] {
        show(&browser, page).await;
        let wanted = browser.script(REACHABLE, vec![]).await.as_array().unwrap().len();
        let mut reached = Vec::new();
        for _ in 0..wanted + 10 {
            browser.press("Tab", TAB).await;
            reached.push(browser.script(FOCUSED, vec![]).await);
        }
        let invisible = reached.iter().find(|one| one["visible"] == json!(false));
        assert_eq!(invisible, None, "{page}: where the focus is can't be seen");
        let missed = browser.script(UNREACHED, vec![]).await;
        assert_eq!(missed, json!([]), "{page}: Tab does not come there");
    }

    show(&browser, "overview").await;
    browser.press("Tab", TAB).await;
    assert_eq!(browser.script("return document.activeElement.className", vec![]).await, "skip");
    browser.press("Enter", ENTER).await;
    assert_eq!(browser.script("return document.activeElement.id", vec![]).await, "main", "the menu is skipped");
    browser.script("document.querySelector('#menu a[href=\"#/stock\"]').focus()", vec![]).await;
    browser.press("Enter", ENTER).await;
    browser.until("the stock page", "return document.querySelector('h1')?.innerText === 'Stock'").await;
    assert_eq!(browser.script("return document.activeElement.id", vec![]).await, "page-title", "the focus follows");
    assert_nothing_went_wrong(&browser, "after the walk").await;
    browser.close().await;
}

/// What a person with a mouse could use when the walk begins.
const REACHABLE: &str = "window.reached = new Set(); \
     const all = [...document.querySelectorAll('a[href], button:not(:disabled), input, select, textarea, summary')]; \
     window.wanted = all.filter((one) => one.checkVisibility()); \
     return window.wanted.map((one) => one.outerHTML.slice(0, 80))";

/// Where the focus is, and whether that can be seen.
const FOCUSED: &str = "const one = document.activeElement; window.reached.add(one); \
     const style = getComputedStyle(one); \
     return {what: one.outerHTML.slice(0, 80), visible: one === document.body || style.outlineStyle !== 'none' || one.matches('main')}";

/// What has come or gone since the walk began counts for nothing.
const UNREACHED: &str = "return window.wanted.filter((one) => one.isConnected && one.checkVisibility() && !window.reached.has(one)) \
     .map((one) => one.outerHTML.slice(0, 120))";
