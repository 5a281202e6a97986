// The small pieces every page is made of.

import { h, s } from "../dom.js";
import { clock, dateTime, isKnown } from "../format.js";
import { t, word } from "../i18n.js";
import * as session from "../session.js";

/** A page's heading, what it is for in one sentence, and what can be done from here. */
export function heading(title, lead, ...actions) {
  const text = h("div", {}, h("h1", { tabindex: "-1", id: "page-title" }, title), lead && h("p", { class: "lead" }, lead));
  return h("header", { class: "page-head" }, text, actions.length ? h("div", { class: "actions" }, actions) : null);
}

export function section(title, ...content) {
  return h("section", { class: "card" }, title && h("h2", {}, title), content);
}

/** A word with a colour and a shape of its own, so that colour is never all that tells. `ok`, `info`, `warn`, `bad`, `idle`. */
export function badge(tone, text) {
  return h("span", { class: `badge ${tone}` }, text);
}

const STATUS_TONES = {
  CONFIRMED: "ok", PAID: "ok", REFUNDED: "idle", CANCELLED: "idle", EXPIRED: "idle", REJECTED: "warn",
  REFUNDING: "warn", PENDING: "info", AWAITING_PAYMENT: "info", PAYING: "info",
};

export function orderStatus(status) {
  return badge(STATUS_TONES[status] ?? "idle", word("status", status));
}

const LETTER_TONES = { dead: "bad", behind: "warn", redriven: "ok", discarded: "idle" };

export function letterState(state) {
  return badge(LETTER_TONES[state] ?? "idle", word("letterState", state));
}

/** A figure with its name; `tone` where it is worth a look. */
export function figure(name, value, { note, tone } = {}) {
  return h("div", { class: `figure ${tone ?? ""}` },
    h("dt", {}, name),
    h("dd", {}, h("span", { class: "value" }, value), note && h("span", { class: "note" }, note)));
}

export function figures(...items) {
  return h("dl", { class: "figures" }, items);
}

/** Names and values, as a list. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => isKnown(value) && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export function time(value) {
  return isKnown(value) ? h("time", { datetime: value, title: dateTime(value) }, clock(value)) : t("never");
}

export function code(text) {
  return h("code", {}, text);
}

/** What the ledger itself says, in its own words. */
export function verbatim(text) {
  return h("p", { class: "note", lang: "en" }, text);
}

export function link(href, ...content) {
  return h("a", { href }, content);
}

export function orderLink(orderId) {
  return h("a", { href: `#/orders/${encodeURIComponent(orderId)}`, class: "mono" }, orderId);
}

/** Nothing to show, and what that means. */
export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text && h("p", {}, text), actions);
}

export function notice(tone, ...content) {
  return h("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : null }, content);
}

/** What went wrong, in words, and what to do about it. */
export function problem(error, retry) {
  const known = { 0: "problem.unreachable", 403: "problem.forbidden", 404: "problem.notFound", 503: "problem.unavailable" };
  const title = known[error.status] ? t(known[error.status]) : t("problem.other");
  return notice("bad",
    h("p", {}, h("strong", {}, title)),
    error.message && h("p", {}, error.message),
    error.code && error.status ? h("p", { class: "note" }, `${error.status} ${error.code}`) : null,
    retry && button(t("retry"), retry));
}

export function button(text, onclick, { tone = "", type = "button", name } = {}) {
  return h("button", { type, class: tone, onclick, "aria-label": name ?? null }, text);
}

/** A button that changes something: with a read-only token it stays, and says why it does nothing. */
export function operate(text, onclick, options = {}) {
  if (session.mayOperate()) return button(text, onclick, options);
  const reason = t("readOnly.reason");
  return h("button", { type: "button", class: options.tone ?? "", disabled: true, title: reason, "aria-label": options.name ? `${options.name}. ${reason}` : `${text}. ${reason}` }, text);
}

/** How much of a whole is done. */
export function progress(ratio, name) {
  const percent = Math.round(Math.min(1, Math.max(0, ratio)) * 100);
  const bar = { class: "progress", role: "progressbar", "aria-label": name, "aria-valuenow": percent, "aria-valuemin": 0, "aria-valuemax": 100 };
  return s("svg", { ...bar, viewBox: "0 0 100 4", preserveAspectRatio: "none" },
    s("rect", { class: "track", width: 100, height: 4 }),
    s("rect", { class: "done", width: percent, height: 4 }));
}

/** Parts of a whole side by side: `[{tone, value, name}]`. */
export function shares(parts, name) {
  const whole = parts.reduce((sum, part) => sum + Math.max(0, part.value), 0);
  let at = 0;
  const rects = parts.map(({ tone, value }) => {
    const width = whole > 0 ? (100 * Math.max(0, value)) / whole : 0;
    const rect = s("rect", { class: tone, x: at, width, height: 8 });
    at += width;
    return rect;
  });
  return s("svg", { class: "shares", role: "img", "aria-label": name, viewBox: "0 0 100 8", preserveAspectRatio: "none" },
    s("rect", { class: "track", width: 100, height: 8 }), rects);
}

/** The last values as a line, unknown ones as a gap. For the eye only: the figure beside it is the text. */
export function sparkline(values, tone = "") {
  const known = values.filter(isKnown);
  if (known.length < 2) return s("svg", { class: "spark", viewBox: "0 0 100 24", "aria-hidden": true });
  const highest = Math.max(...known, 1e-9);
  const step = 100 / Math.max(1, values.length - 1);
  const lines = [];
  let line = [];
  values.forEach((value, index) => {
    if (isKnown(value)) line.push(`${(index * step).toFixed(1)},${(22 - (20 * value) / highest).toFixed(1)}`);
    else if (line.length) lines.push(line.splice(0));
  });
  if (line.length) lines.push(line);
  const drawn = lines.map((points) => s("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
  return s("svg", { class: `spark ${tone}`, viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": true }, drawn);
}

/** A field with its label. */
export function field(label, input, hint) {
  return h("label", { class: "field" }, h("span", {}, label), input, hint && h("small", {}, hint));
}

export function select(attributes, options, chosen) {
  const option = ([value, text]) => h("option", { value, selected: value === chosen }, text);
  return h("select", attributes, options.map(option));
}
