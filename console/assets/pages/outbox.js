// The outbox and the relay that empties it: per topic and queue, and what can't be sent.

import * as api from "../api.js";
import { h } from "../dom.js";
import { ageSeconds, compact, count, isKnown, perSecond, seconds } from "../format.js";
import { t, word } from "../i18n.js";
import * as live from "../live.js";
import { ask } from "../parts/dialog.js";
import { measured } from "../parts/measured.js";
import { pager, table } from "../parts/table.js";
import { badge, code, empty, figure, figures, heading, notice, operate, section, sparkline, time } from "../parts/ui.js";

const ROWS = 50;
const CIRCUIT_TONES = { closed: "ok", half_open: "warn", open: "bad" };

export const outbox = {
  title: "outbox.title",
  everyMs: 3_000,
  isLive: true,
  load: ({ params }) => api.get("/v1/admin/parked", { after: params.after, limit: ROWS }),
  render(view) {
    return [
      heading(t("outbox.title"), t("outbox.lead")),
      measured(({ lag }) => [summary(lag), section(t("outbox.topics"), topics(lag.outbox))]),
      section(t("parked.title"), h("p", { class: "lead" }, t("parked.lead")), parked(view)),
    ];
  },
};

function summary({ outbox, relay }) {
  const age = outbox.oldestUnsentAgeSeconds;
  const pending = live.history().map((one) => one.lag.outbox.pendingMessages);
  return h("div", { class: "now" },
    h("div", { class: "card moving" }, figures(figure(t("outbox.pending"), compact(outbox.pendingMessages), { note: t("outbox.messages") })), sparkline(pending)),
    h("div", { class: "card" }, figures(figure(t("outbox.age"), isKnown(age) ? seconds(age) : t("outbox.nothingWaits"), { tone: age > 30 ? "warn" : null, note: t("outbox.ageNote") }))),
    h("div", { class: "card" }, figures(figure(t("outbox.rate"), perSecond(relay.sentPerSecond), { note: isKnown(relay.inFlightMessages) ? t("outbox.inFlight", { n: count(relay.inFlightMessages) }) : null }))),
    h("div", { class: "card" }, figures(figure(t("outbox.relay"), relay.leaseOwner ? t("outbox.active") : t("outbox.noRelay"), { tone: relay.leaseOwner ? null : "bad", note: relay.leaseOwner ? h("span", { title: relay.leaseOwner }, shortOwner(relay.leaseOwner)) : t("outbox.noRelayNote") }))),
    h("div", { class: "card" }, figures(figure(t("outbox.circuit"), isKnown(relay.circuit) ? badge(CIRCUIT_TONES[relay.circuit] ?? "idle", word("circuit", relay.circuit)) : t("unknown"), { note: t("outbox.circuitNote") }))));
}

/** A lease's owner is a role, a process and what tells it from others of that number. */
function shortOwner(owner) {
  const [role, process] = owner.split("-");
  return `${role} ${process ?? ""}`;
}

function topics({ topics }) {
  const columns = [
    { title: t("topic"), cell: (row) => code(row.topic) },
    { title: t("outbox.pending"), number: true, cell: (row) => count(row.pendingMessages) },
    { title: t("outbox.age"), number: true, cell: (row) => (row.pendingMessages === 0 ? "–" : seconds(row.oldestUnsentAgeSeconds)) },
    { title: t("outbox.queues"), wide: true, cell: queues },
  ];
  return table(t("outbox.topics"), columns, topics, (row) => row.topic);
}

/** One square a queue; what it holds is said in its name. */
function queues({ topic, lanes }) {
  if (!lanes) return t("unknown");
  const square = ({ queue, pendingMessages: n, oldestUnsentAgeSeconds: age }) => {
    const said = n > 0 ? t("outbox.queueSaid", { queue, n: count(n), age: seconds(age) }) : t("outbox.queueEmpty", { queue });
    const tone = n === 0 ? "none" : age > 30 ? "warn" : "some";
    return h("li", { class: tone, title: said, "data-key": `${topic}-${queue}` }, h("span", { class: "sr-only" }, said), h("span", { "aria-hidden": true }, n > 0 ? compact(n) : ""));
  };
  return h("ul", { class: "queues" }, lanes.map(square));
}

function parked(view) {
  const { data, route } = view;
  if (!data.items.length) return empty(t("parked.none"), t("parked.noneText"));
  const columns = [
    { title: t("topic"), cell: (row) => code(row.topic) },
    { title: t("parked.key"), cell: (row) => code(row.orderingKey) },
    { title: t("parked.state"), cell: (row) => badge(row.state === "parked" ? "bad" : row.state === "behind" ? "warn" : "info", word("parkedState", row.state)) },
    { title: t("parked.reason"), wide: true, cell: (row) => row.reason },
    { title: t("parked.since"), number: true, cell: (row) => [time(row.parkedAt), h("span", { class: "note" }, " ", t("ago", { age: seconds(ageSeconds(row.parkedAt)) }))] },
    { title: t("position"), number: true, cell: (row) => count(row.position) },
    { title: t("actions"), cell: (row) => (row.state === "parked" ? h("div", { class: "actions" },
      operate(t("parked.release"), () => release(view, row), { name: `${t("parked.release")}: ${row.messageId}` }),
      operate(t("parked.skip"), () => skip(view, row), { tone: "danger", name: `${t("parked.skip")}: ${row.messageId}` })) : row.decidedBy ? h("span", { class: "note" }, row.decidedBy) : "") },
  ];
  return [table(t("parked.title"), columns, data.items, (row) => row.id), pager({ after: route.params.after, next: data.next }, (after) => view.go({ after }))];
}

async function release(view, row) {
  const answer = await ask({ title: t("parked.release.title"), text: t("parked.release.text", { key: row.orderingKey }), confirm: t("parked.release") });
  if (answer) await view.act(() => api.send("POST", `/v1/admin/parked/${row.id}/release`), t("parked.decided"));
}

async function skip(view, row) {
  const fields = [{ name: "reason", label: t("reason"), required: true, hint: t("reason.hint") }];
  const text = [h("p", {}, t("parked.skip.text")), notice("warn", h("p", {}, row.reason))];
  const answer = await ask({ title: t("parked.skip.title"), text, fields, typed: row.orderingKey, confirm: t("parked.skip"), tone: "danger" });
  if (answer) await view.act(() => api.send("POST", `/v1/admin/parked/${row.id}/skip`, { body: answer }), t("parked.decided"));
}
