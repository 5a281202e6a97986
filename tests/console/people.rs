//! Who uses it, and how: with what a role may, by keyboard, by an address that somebody made up, in another language.

use std::time::Duration;

use api::auth::Role;
use serde_json::json;

use super::scene::Scene;
use super::stage::{ENTER, TAB, assert_nothing_went_wrong, enter, show, sign_in};
use super::support::browser::Browser;

/// One scene for all of them: they change nothing in it.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_by_keyboard_and_each_role_sees_what_it_may_until_the_token_ends() {
    let scene = Scene::start().await;
    let Some(browser) = Browser::start_if_available(scene.address()).await else { return };
    browser.set_width(1_440).await;
    sign_in(&browser, &scene.token(Role::Operator)).await;
    everything_by_keyboard(&browser).await;
    updates_of_a_list(&browser).await;
    addresses_somebody_made_up(&browser).await;
    charts_in_chinese(&browser).await;
    assert_nothing_went_wrong(&browser, "so far").await;
    browser.script("sessionStorage.clear()", vec![]).await;
    who_may_see_it(&scene, &browser).await;
    an_auditor_changes_nothing(&scene, &browser).await;
    until_the_token_ends(&scene, &browser).await;
    browser.close().await;
}

async fn everything_by_keyboard(browser: &Browser) {
    for page in ["overview", "orders", "dead-letters", "rollout"] {
        show(browser, page).await;
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

    show(browser, "overview").await;
    browser.press("Tab", TAB).await;
    assert_eq!(browser.script("return document.activeElement.className", vec![]).await, "skip");
    browser.press("Enter", ENTER).await;
    assert_eq!(browser.script("return document.activeElement.id", vec![]).await, "main", "the menu is skipped");
    browser.script("document.querySelector('#menu a[href=\"#/stock\"]').focus()", vec![]).await;
    browser.press("Enter", ENTER).await;
    browser.until("the stock page", "return document.querySelector('h1')?.innerText === 'Stock'").await;
    assert_eq!(browser.script("return document.activeElement.id", vec![]).await, "page-title", "the focus follows");
    assert_nothing_went_wrong(browser, "after the walk").await;
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

async fn who_may_see_it(scene: &Scene, browser: &Browser) {
    browser.open("/console").await;
    for (token, said) in [
        ("nonsense".to_owned(), "That is not a token"),
        (scene.token(Role::User), "This token has no role that may see the console"),
    ] {
        browser.fill("#token", &token).await;
        browser.click("Sign in").await;
        browser.until_text(said).await;
    }
}

async fn an_auditor_changes_nothing(scene: &Scene, browser: &Browser) {
    sign_in(browser, &scene.token(Role::Auditor)).await;
    browser.until_text("Read-only").await;
    show(browser, "projections").await;
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

    show(browser, "rollout").await;
    browser.find("input[name=asyncPercent]").await;
    browser.script("document.querySelector('input[name=asyncPercent]').focus()", vec![]).await;
    browser.press("Enter", ENTER).await;
    let asked = browser.script("return document.querySelector('dialog') !== null", vec![]).await;
    assert_eq!(asked, json!(false), "nor does Enter in a field");
}

async fn until_the_token_ends(scene: &Scene, browser: &Browser) {
    browser.click("Sign out").await;
    enter(browser, &scene.token_for(Role::Operator, Duration::from_secs(15))).await;
    browser.until_text("Your token has expired. Sign in with a new one.").await;
    assert_eq!(browser.script("return sessionStorage.length", vec![]).await, json!(0), "the token is forgotten");

    // One that ended while nobody looked.
    let keep = "sessionStorage.setItem('order-ledger.token', arguments[0])";
    browser.script(keep, vec![json!(scene.token_for(Role::Operator, Duration::ZERO))]).await;
    browser.open("/console?again").await;
    browser.until_text("Your token has expired. Sign in with a new one.").await;
    assert_eq!(browser.script("return sessionStorage.length", vec![]).await, json!(0), "it is forgotten as well");
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
