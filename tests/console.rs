//! The console in a real Chromium, on a real instance with real orders.
//!
//! `LEDGER_TEST_SCREENSHOTS=<directory>` keeps a picture of every page, in both widths, themes and languages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

#[path = "console/browsing.rs"]
mod browsing;
#[path = "console/people.rs"]
mod people;
#[path = "console/scene.rs"]
mod scene;
#[path = "console/stage.rs"]
mod stage;
#[path = "console/trouble.rs"]
mod trouble;

use api::auth::Role;
use scene::{Page, Scene};
use stage::{
    DOCS, LOADED, assert_nothing_went_wrong, enter_token, go_to, keep_picture, look_at, prefer, show, sign_in,
};
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
    let contrast = axe.as_ref().map(|axe| axe.only("color-contrast"));
    browser.open("/console").await;
    for (width_px, theme, language) in WAYS {
        let way = format!("{width_px} {theme} {language}");
        let look = async |what: &str| {
            let what = format!("{what} {way}");
            let tag = if language == "zh" { "zh-CN" } else { "en" };
            assert_eq!(browser.script("return document.documentElement.lang", vec![]).await, tag, "{what}");
            // Axe takes its time: each width and language is judged once, and of the other theme what differs.
            let judge = match (width_px, theme) {
                (_, "light") => axe.as_ref(),
                (1_440, _) => contrast.as_ref(),
                _ => None,
            };
            look_at(&browser, judge, scene.address(), width_px, &what).await;
        };
        browser.set_width(width_px).await;
        prefer(&browser, theme, language).await;
        browser.script("sessionStorage.clear()", vec![]).await;
        browser.open("/console?signed-out").await;
        browser.find("#token").await;
        look("sign-in").await;
        // From here on in this one document: to load each page anew takes most of the time.
        enter_token(&browser, &scene.token(Role::Operator)).await;
        browser.until("the overview", LOADED).await;
        for Page { path, shows } in scene.pages() {
            go_to(&browser, &path).await;
            browser.until_text(&shows).await;
            look(&path).await;
        }
        go_to(&browser, "rollout").await;
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
