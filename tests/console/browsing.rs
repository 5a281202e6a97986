//! Looking things up, and what was: by search, time travel, comparison and charts.

use api::auth::Role;
use serde_json::{Value, json};

use super::scene::{BALCONY, STALLS, Scene};
use super::stage::{
    ARROW_LEFT, ENTER, ESCAPE, LOADED, TAB, assert_nothing_went_wrong, keep_picture, look_at, show, sign_in,
};
use super::support::axe::Axe;
use super::support::browser::Browser;

/// Of what was asked for, in the field for it.
async fn travel_to(browser: &Browser, at: &str) {
    browser.fill(".travel input[name=at]", at).await;
    browser.click("Go there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_and_shown_as_they_were() {
    let mut scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    browser.set_width(1_440).await;
    sign_in(&browser, &scene.token(Role::Operator)).await;
    finding_orders(&scene, &browser).await;
    order_as_it_was(&scene, &browser).await;
    stock_as_it_was(&scene, &browser).await;
    comparison(&scene, &browser).await;
    dialog_by_keyboard(&scene, &browser).await;
    assert_nothing_went_wrong(&browser, "after all that").await;
    charts_after_a_restart(&mut scene, &browser).await;
    browser.close().await;
}

async fn finding_orders(scene: &Scene, browser: &Browser) {
    let rows = "return [...document.querySelectorAll('main tbody tr')].map((one) => one.dataset.key)";
    show(browser, "orders").await;
    browser.fill("input[name=text]", "5").await;
    browser.click("Search").await;
    browser.until("one order of user 5", "return document.querySelectorAll('main tbody tr').length === 1").await;
    browser.until_text("Rejected").await;
    browser.script("document.querySelector('select[name=status]').value = 'CONFIRMED'", vec![]).await;
    browser.click("Search").await;
    browser.until_text("No order matches what you are looking for.").await;
    browser.fill("input[name=text]", "").await;
    browser.click("Search").await;
    browser.until("the confirmed ones", "return document.querySelectorAll('main tbody tr').length === 3").await;
    assert!(browser.script(rows, vec![]).await.as_array().unwrap().contains(&json!(scene.confirmed())));
    browser.fill("input[name=text]", &scene.confirmed().to_lowercase()).await;
    browser.press("Enter", ENTER).await;
    browser.until_text("OrderConfirmed").await;
}

async fn order_as_it_was(scene: &Scene, browser: &Browser) {
    let order = scene.confirmed();
    let events = scene.client().get(&format!("/v1/orders/{order}/events")).await.body;
    let placed = events["items"][0]["position"].as_i64().unwrap();
    show(browser, &format!("orders/{order}")).await;
    travel_to(browser, &placed.to_string()).await;
    browser.until_text("After OrderPlaced: version 1").await;
    let status = "return document.querySelector('.facts .badge').innerText";
    assert_eq!(browser.script(status, vec![]).await, "Pending");
    let later = browser.script("return document.querySelectorAll('.entry.later').length", vec![]).await;
    assert!(later.as_i64() > Some(2), "what came after it is marked: {later}");
    keep_picture(browser, "an order as it was", 1_440).await;
    travel_to(browser, &(placed - 1).to_string()).await;
    browser.until_text("This order had not been placed then.").await;
    travel_to(browser, "yesterday").await;
    browser.until("why that is refused", "return document.querySelector('.travel .notice.warn') !== null").await;
    assert_eq!(browser.script(status, vec![]).await, "Confirmed", "and it is shown as it is now");
    browser.click("Back to now").await;
    browser.until_text("You see it as it is now.").await;
    browser.script("document.querySelector('.travel input[type=range]').focus()", vec![]).await;
    browser.press("ArrowLeft", ARROW_LEFT).await;
    browser.until_text("After OrderConfirmed").await;
    browser.console_errors().await;
}

async fn stock_as_it_was(scene: &Scene, browser: &Browser) {
    let available = "return document.querySelector('.figure .value').innerText";
    show(browser, &format!("stock/{STALLS}")).await;
    travel_to(browser, "1").await;
    browser.until_text("As of 1").await;
    assert_eq!(browser.script(available, vec![]).await, "500");

    // What can't be loaded leaves what is shown under its own name.
    let blocked = json!({"urls": [format!("{}/*?at=2", scene.address())]});
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.setBlockedURLs", blocked).await;
    travel_to(browser, "2").await;
    browser.until_text("Could not be refreshed").await;
    assert!(browser.text().await.contains("As of 1"), "{}", browser.text().await);
    browser.devtools("Network.setBlockedURLs", json!({"urls": []})).await;
    browser.until_text("As of 2").await;
    browser.console_errors().await;

    show(browser, &format!("stock/{BALCONY}")).await;
    travel_to(browser, "1").await;
    browser.until_text("It was not on sale then.").await;
    // The browser calls every refusal an error.
    browser.console_errors().await;
}

async fn comparison(scene: &Scene, browser: &Browser) {
    scene.compare(60).await;
    show(browser, "rollout").await;
    let sentences = browser.script("return document.querySelectorAll('.sentences li').length", vec![]).await;
    assert_eq!(sentences, 4, "one for each measure");
    let judged = "return [...document.querySelectorAll('main tr')].some((one) => /real|noise/.test(one.innerText))";
    browser.until("a measure that is judged", judged).await;
    keep_picture(browser, "rollout of two ways", 1_440).await;

    browser.script("document.querySelector('input[name=asyncPercent]').value = ''", vec![]).await;
    browser.click("Review the change").await;
    browser.find("input[name=asyncPercent]:invalid").await;
    assert_eq!(browser.script("return document.querySelector('dialog')", vec![]).await, Value::Null, "no percentage");
    browser.fill("input[name=asyncPercent]", "30").await;
    browser.click("Review the change").await;
    browser.click("Put it in force").await;
    browser.until_text("30 % of the users go async").await;
}

async fn dialog_by_keyboard(scene: &Scene, browser: &Browser) {
    let axe = Axe::fetch_if_available();
    let focused = "return document.activeElement.getAttribute('aria-label')";
    let is_inside =
        "return document.activeElement.closest('dialog[open]') !== null || document.activeElement === document.body";
    show(browser, "projections").await;
    browser.until_text("notifications").await;
    browser.script("document.querySelector('[aria-label=\"Rebuild: stock\"]').focus()", vec![]).await;
    browser.press("Enter", ENTER).await;
    browser.find("dialog[open]").await;
    for _ in 0..5 {
        browser.press("Tab", TAB).await;
        assert_eq!(browser.script(is_inside, vec![]).await, json!(true), "Tab stays inside");
    }
    look_at(browser, axe.as_ref(), scene.address(), 1_440, "a dialog over projections").await;
    browser.press("Escape", ESCAPE).await;
    browser.until("no dialog", "return document.querySelector('dialog') === null").await;
    assert_eq!(browser.script(focused, vec![]).await, "Rebuild: stock", "the focus is back where it was");
}

async fn charts_after_a_restart(scene: &mut Scene, browser: &Browser) {
    let earliest = "return Math.min(...[...document.querySelectorAll('.as-table time')].map((one) => new Date(one.dateTime).getTime()))";
    show(browser, "overview").await;
    let before = browser.script("return Date.now()", vec![]).await.as_f64().unwrap();
    scene.restart();
    show(browser, "overview").await;
    browser.until("the overview", LOADED).await;
    let earliest = browser.script(earliest, vec![]).await.as_f64().unwrap();
    assert!(earliest < before, "the history begins at {earliest}, before the restart at {before}");
    let lines = browser.script("return document.querySelectorAll('.chart-picture polyline').length", vec![]).await;
    assert!(lines.as_u64() > Some(3), "{lines} lines");
}
