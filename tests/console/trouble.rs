//! When not all is well: a slow server, no Postgres, a token that is no longer taken, an address that somebody made up.

use api::auth::Role;
use serde_json::json;

use super::scene::Scene;
use super::stage::{assert_nothing_went_wrong, keep_picture, look_at, show, sign_in};
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
    updates_of_a_list(&browser).await;
    addresses_somebody_made_up(&browser).await;
    charts_in_chinese(&browser).await;
    assert_nothing_went_wrong(&browser, "so far").await;
    a_slow_server(&browser).await;
    no_postgres(&scene, &browser).await;
    a_dialog_whose_token_is_no_longer_taken(&browser).await;
    browser.close().await;
}

async fn updates_of_a_list(browser: &Browser) {
    let outcome = browser
        .promised(
            "const { h, morph } = await import('/console/dom.js'); \
             const list = document.body.appendChild(h('ul', {})); \
             const row = (key) => h('li', { 'data-key': key }, h('button', {}, key)); \
             const keys = () => [...list.children].map((one) => one.dataset.key).join(''); \
             morph(list, ['a', 'b', 'c', 'd'].map(row)); \
             list.children[2].firstChild.focus(); \
             morph(list, ['b', 'c', 'd'].map(row)); \
             const focused = document.activeElement.innerText; \
             morph(list, ['c', 'x', 'x'].map(row)); \
             const twice = keys(); \
             morph(list, ['c', 'x', 'x', 'x'].map(row)); \
             const thrice = keys(); \
             list.remove(); \
             return [focused, twice, thrice];",
        )
        .await;
    assert_eq!(outcome, json!(["c", "cxx", "cxxx"]), "the focus, and every row of a key that comes more than once");
}

async fn addresses_somebody_made_up(browser: &Browser) {
    for address in ["constructor", "toString", "nothing/at/all"] {
        show(browser, address).await;
        browser.until_text("How orders flow through the ledger").await;
    }
    browser.open("/console?malformed#/orders/%").await;
    browser.until("an answer", "return document.querySelector('main .notice') !== null").await;
    // That there is no such order.
    browser.console_errors().await;
}

async fn charts_in_chinese(browser: &Browser) {
    browser.script("localStorage.setItem('order-ledger.language', 'zh')", vec![]).await;
    show(browser, "overview").await;
    let said = "return [...document.querySelectorAll('.chart-picture svg')].map((one) => one.getAttribute('aria-label')).join()";
    let said = browser.script(said, vec![]).await.as_str().unwrap().to_owned();
    assert!(said.contains("订单/秒：最新"), "{said}");
    let english =
        browser.script("return document.querySelectorAll('.chart-picture svg :is(title, desc)').length", vec![]);
    assert_eq!(english.await, 0, "a title would be shown under the pointer");
    browser.script("localStorage.setItem('order-ledger.language', 'en')", vec![]).await;
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
    browser.console_errors().await;
    look_at(browser, axe.as_ref(), scene.address(), 1_440, "overview without Postgres").await;
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
