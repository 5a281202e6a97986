//! When not all is well: a slow server, no Postgres, a token that is no longer taken.

use api::auth::Role;
use serde_json::json;

use super::scene::Scene;
use super::stage::{keep_picture, look_over, show, sign_in};
use super::support::axe::Axe;
use super::support::browser::Browser;

/// More than a page waits between two questions.
const SLOW_MS: u32 = 1_500;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_said_and_what_comes_late_is_shown() {
    let scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    browser.set_width(1_440).await;
    sign_in(&browser, &scene.token(Role::Operator)).await;
    a_slow_server(&browser).await;
    no_postgres(&scene, &browser).await;
    a_dialog_whose_token_is_no_longer_taken(&browser).await;
    browser.close().await;
}

async fn a_slow_server(browser: &Browser) {
    show(browser, "overview").await;
    let slow = |latency_ms: u32| json!({"offline": false, "latency": latency_ms, "downloadThroughput": -1, "uploadThroughput": -1});
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.emulateNetworkConditions", slow(SLOW_MS)).await;
    browser.script("location.hash = '#/projections'", vec![]).await;
    browser.find("[aria-label=\"Rebuild: orders\"]").await;
    browser.devtools("Network.emulateNetworkConditions", slow(0)).await;
}

async fn no_postgres(scene: &Scene, browser: &Browser) {
    let axe = Axe::fetch_if_available();
    show(browser, "overview").await;
    let frozen = scene.freeze_postgres();
    browser.until_text("Not measured since").await;
    let stations = browser.script("return document.querySelectorAll('.station').length", vec![]).await;
    assert_eq!(stations, 0, "no figure of before is shown as if it were of now");
    // What it asks for meanwhile is refused, which the browser calls an error.
    look_over(browser, axe.as_ref(), scene.address(), 1_440, "overview without Postgres").await;
    drop(frozen);
    browser
        .until("measurements again", "return document.querySelectorAll('.connection.ok, .station').length === 8")
        .await;
    browser.console_errors().await;
}

async fn a_dialog_whose_token_is_no_longer_taken(browser: &Browser) {
    show(browser, "rollout").await;
    browser.click("Review the change").await;
    browser.find("dialog[open]").await;
    let spoil =
        "const [name] = Object.keys(sessionStorage); sessionStorage.setItem(name, sessionStorage.getItem(name) + 'x')";
    browser.script(spoil, vec![]).await;
    browser.until_text("The server does not accept this token.").await;
    assert_eq!(
        browser.script("return document.querySelector('dialog')", vec![]).await,
        json!(null),
        "no dialog is left"
    );
    keep_picture(browser, "signed out by the server", 1_440).await;
}
