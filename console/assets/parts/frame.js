// Brand, menu, who is signed in, language and theme.

import { h } from "../dom.js";
import { atLeast } from "../format.js";
import * as i18n from "../i18n.js";
import { t } from "../i18n.js";
import * as live from "../live.js";
import * as session from "../session.js";
import * as theme from "../theme.js";
import { unmeasuredSince } from "./measured.js";
import { badge, button, select } from "./ui.js";

const MENU = ["overview", "orders", "stock", "projections", "outbox", "consumers", "dead-letters", "sagas", "rollout", "audit"];
const OF = { redrives: "dead-letters" };

/** Everything around the page. */
export function frame({ route, main, onSignOut, onChange }) {
  return [
    h("a", { class: "skip", href: "#main", onclick: skipTo }, t("skip")),
    h("header", { class: "top" },
      h("button", {
        type: "button",
        class: "menu-button quiet",
        "aria-label": t("menu"),
        "aria-controls": "menu",
        "aria-expanded": String(document.body.classList.contains("menu-open")),
        onclick: toggleMenu,
      }, "☰"),
      h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/console/icon.svg", alt: "", width: 24, height: 24 }), "order-ledger"),
      connection(),
      h("div", { class: "settings" }, settings(onChange), who(onSignOut))),
    h("nav", { class: "menu", id: "menu", "aria-label": t("menu") }, h("ul", {}, MENU.map((name) => item(name, route)))),
    main,
  ];
}

/** Language and theme; also on the sign-in page. */
export function settings(onChange) {
  const languages = h("div", { class: "languages", role: "group", "aria-label": t("language") },
    ["zh", "en"].map((name) => language(name, onChange)));
  const chooseTheme = (event) => theme.choose(event.target.value);
  const themes = select({ "aria-label": t("theme"), class: "quiet", onchange: chooseTheme },
    theme.THEMES.map((name) => [name, t(`theme.${name}`)]), theme.theme());
  return [languages, themes];
}

function language(name, onChange) {
  const isChosen = i18n.isChinese() === (name === "zh");
  const choose = () => {
    i18n.choose(name);
    onChange();
  };
  const text = name === "zh" ? "中文" : "English";
  return h("button", { type: "button", class: "quiet", lang: name === "zh" ? "zh-CN" : "en", "aria-pressed": String(isChosen), onclick: choose }, text);
}

function who(onSignOut) {
  const current = session.current();
  if (!current) return null;
  const roles = current.roles.map((role) => i18n.word("role", role)).join(", ");
  return h("div", { class: "who" },
    h("span", {}, t("signedInAs", { user: current.user }), " ", h("span", { class: "role" }, roles)),
    session.mayOperate() ? null : badge("info", t("readOnly")),
    button(t("signOut"), onSignOut, { tone: "quiet" }));
}

function connection() {
  const tones = { live: "ok", waiting: "warn", over: "bad" };
  const state = live.connection();
  const outage = state === "live" ? live.unmeasured() : null;
  const tone = outage ? "bad" : tones[state];
  return h("span", { class: `connection ${tone}`, role: "status" }, h("i", { "aria-hidden": true }),
    h("span", {}, outage ? unmeasuredSince(outage) : t(`connection.${state}`)));
}

function item(name, route) {
  const isHere = name === (OF[route.name] ?? route.name);
  const number = count(name);
  return h("li", { "data-key": name },
    h("a", { href: `#/${name}`, "aria-current": isHere ? "page" : null, onclick: closeMenu }, t(`${name}.title`),
      number ? h("span", { class: "count" }, number) : null));
}

/** What waits for a person on that page. */
function count(name) {
  const now = live.newest();
  if (!now) return null;
  const counts = { "dead-letters": now.deadLetters, sagas: now.stuckSagas, outbox: now.lag.outbox.parkedMessages };
  return counts[name] > 0 ? atLeast(counts[name], name === "sagas" && now.hasMoreStuckSagas) : null;
}

function skipTo(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function toggleMenu(event) {
  const isOpen = document.body.classList.toggle("menu-open");
  event.currentTarget.setAttribute("aria-expanded", String(isOpen));
}

function closeMenu() {
  document.body.classList.remove("menu-open");
}
