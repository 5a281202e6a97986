//! The console in a real Chromium, on a real instance with real orders.
//!
//! `LEDGER_TEST_SCREENSHOTS=<directory>` keeps a picture of every page, in both widths, themes and languages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

#[path = "console/browsing.rs"]
mod browsing;
#[path = "console/scene.rs"]
mod scene;
#[path = "console/stage.rs"]
mod stage;
#[path = "console/trouble.rs"]
mod trouble;

use std::time::Duration;

use api::auth::Role;
use scene::{Page, Scene};
use serde_json::json;
use stage::{DOCS, ENTER, TAB, assert_nothing_went_wrong, enter, keep_picture, look_at, prefer, show, sign_in};
use support::axe::Axe;
use support::browser::Browser;

/// Each width with each theme and each language, and both themes with each language: more would show nothing else.
const WAYS: [(u32, &str, &str); 4] =
    [(390, "light", "en"), (390, "dark", "zh"), (1_440, "dark", "en"), (1_440, "light", "zh")];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_shown_in_both_languages_themes_and_widths_and_asks_nobody_else() {
    let scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    let axe = Axe::fetch_if_available();
    browser.open("/console").await;
    for (width_px, theme, language) in WAYS {
        let way = format!("{width_px} {theme} {language}");
        let look = async |what: &str| {
            let what = format!("{what} {way}");
            let tag = if language == "zh" { "zh-CN" } else { "en" };
            assert_eq!(browser.script("return document.documentElement.lang", vec![]).await, tag, "{what}");
            // Axe takes its time: each width, theme and language is judged without this one.
            let judge = axe.as_ref().filter(|_| (width_px, language) != (390, "zh"));
            look_at(&browser, judge, scene.address(), width_px, &what).await;
        };
        browser.set_width(width_px).await;
        prefer(&browser, theme, language).await;
        browser.script("sessionStorage.clear()", vec![]).await;
        browser.open("/console?signed-out").await;
        browser.find("#token").await;
        look("sign-in").await;
        sign_in(&browser, &scene.token(Role::Operator)).await;
        for Page { path, shows } in scene.pages() {
            show(&browser, &path).await;
            browser.until_text(&shows).await;
            look(&path).await;
        }
        browser.script("location.hash = '#/rollout'", vec![]).await;
        browser.click_on("form.stack button.primary").await;
        browser.find("dialog[open]").await;
        look("a dialog").await;
        show(&browser, DOCS).await;
        look(DOCS).await;
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
    browser.until_text("notifications").await;
    let all = "return document.querySelectorAll('main button').length";
    let mute = "return [...document.querySelectorAll('main button')].filter((one) => one.disabled && one.title.includes('look')).length";
    let (all, mute) = (browser.script(all, vec![]).await, browser.script(mute, vec![]).await);
    assert!(all.as_u64() >= Some(8), "two for each of the projections: {all}");
    assert_eq!(all, mute, "an auditor's buttons do nothing and say why");
    let status = "const done = arguments[arguments.length - 1]; \
         const headers = {authorization: `Bearer ${sessionStorage.getItem('order-ledger.token')}`}; \
         fetch('/v1/admin/projections/orders/rebuild', {method: 'POST', headers}).then((answer) => done(answer.status))";
    assert_eq!(browser.page.execute_async(status, vec![]).await.unwrap(), json!(403), "and the server refuses anyway");

    show(&browser, "rollout").await;
    browser.find("input[name=asyncPercent]").await;
    browser.script("document.querySelector('input[name=asyncPercent]').focus()", vec![]).await;
    browser.press("Enter", ENTER).await;
    let asked = browser.script("return document.querySelector('dialog') !== null", vec![]).await;
    assert_eq!(asked, json!(false), "nor does Enter in a field");

    browser.click("Sign out").await;
    enter(&browser, &scene.token_for(Role::Operator, Duration::from_secs(15))).await;
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
