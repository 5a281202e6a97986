// What happened, in the order of the ledger: each event, the messages it caused, and what each consumer made of them.

import { h } from "../dom.js";
import { count } from "../format.js";
import { t, word } from "../i18n.js";
import { hadHappened } from "./time-travel.js";
import { badge, code, time } from "./ui.js";

const SENDING_TONES = { sent: "ok", waiting: "info", parked: "bad", skipped: "warn" };

/** `events` has the fields of the order's own events; those after the position or time `until` have not happened yet then. */
export function timeline(truth, events, until) {
  const fields = new Map(events.map((event) => [event.position, event.data]));
  return h("ol", { class: "timeline" }, truth.events.map((event) => entry(event, truth, fields.get(event.position), until)));
}

function entry(event, truth, data, until) {
  const messages = truth.messages.filter((message) => message.position === event.position);
  const room = event.streamId.split("-")[0];
  const isLater = until !== null && !hadHappened({ position: event.position, at: event.time }, until);
  return h("li", { class: `entry ${room} ${isLater ? "later" : ""}`, "data-key": event.position },
    h("div", { class: "entry-head" },
      h("strong", {}, event.type), badge("idle", word("stream", room)),
      isLater ? badge("info", t("timeline.later")) : null,
      h("span", { class: "note" }, time(event.time), " · ", t("timeline.place", { position: count(event.position), version: count(event.version) }), event.actor ? ` · ${event.actor}` : "")),
    messages.length ? h("ul", { class: "messages" }, messages.map((message) => sent(message, truth))) : null,
    data ? h("details", {}, h("summary", {}, t("timeline.fields")), h("pre", { tabindex: "0" }, JSON.stringify(data, null, 2))) : null);
}

function sent(message, truth) {
  const letters = truth.deadLetters.filter((letter) => letter.messageId === message.messageId && (letter.state === "dead" || letter.state === "behind"));
  return h("li", { "data-key": message.messageId },
    h("span", { class: "arrow", "aria-hidden": true }, "→"), code(message.topic),
    badge(SENDING_TONES[message.state] ?? "idle", word("sending", message.state)),
    message.reason ? h("span", { class: "note" }, message.reason) : null,
    message.effects.map((effect) => h("span", { class: "effect", title: effect.appliedAt }, badge("ok", t("timeline.applied", { consumer: effect.consumer })))),
    letters.map((letter) => h("a", { href: `#/dead-letters/${letter.id}` }, badge("bad", t("timeline.dead", { consumer: letter.consumer })))),
    h("details", {}, h("summary", {}, t("timeline.ids")), h("p", {}, code(message.messageId))));
}
