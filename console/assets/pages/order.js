// One order: what it is, what it waits for, everything that happened, and what it was at any time before.

import * as api from "../api.js";
import { h } from "../dom.js";
import { follow } from "../events.js";
import { ageSeconds, count, dateTime, money, seconds } from "../format.js";
import { t, word } from "../i18n.js";
import { timeline } from "../parts/timeline.js";
import { timeTravel } from "../parts/time-travel.js";
import { badge, code, empty, facts, heading, link, notice, orderStatus, section, time, verbatim } from "../parts/ui.js";

const EVENTS = 500;

export const order = {
  async load(route, view) {
    const path = `/v1/orders/${encodeURIComponent(route.id)}`;
    const at = view.state.at ?? null;
    const [now, timeline, events, then] = await Promise.all([
      api.get(path), api.get(`${path}/timeline`), api.get(`${path}/events`, { limit: EVENTS }), asOf(path, at),
    ]);
    return { now, timeline, events: events.items, at, then };
  },
  render(view) {
    const { now, timeline: truth, events, at, then } = view.data;
    const past = then && !then.problem ? then : null;
    const shown = past?.body ?? now;
    return [
      heading(h("span", { class: "title-row" }, h("span", { class: "mono" }, now.orderId), orderStatus(shown.status)), null,
        link("#/orders", t("order.all"))),
      timeTravel({
        stops: events.map((event) => ({ position: event.position, version: event.version, at: event.recordedAt, label: event.type })),
        at, problem: then?.problem,
        choose: (wanted) => {
          view.state.at = wanted;
          view.reload();
        },
      }),
      h("div", { class: "columns" },
        section(past ? t("order.then") : t("order.now"), past && !past.body ? empty(t("order.notYet"), t("order.notYetText")) : details(shown)),
        past ? null : remains(truth)),
      section(t("order.timeline"), timeline(truth, events, past ? at : null)),
    ];
  },
  /** News of this order comes as it happens, until nothing more can. */
  begin(view) {
    return follow(`/v1/orders/${encodeURIComponent(view.route.id)}/updates`, () => view.data && view.reload());
  },
};

/** The order at a position or a time; nothing where now is asked for. */
async function asOf(path, at) {
  if (!at) return null;
  try {
    return { body: await api.get(path, { at }) };
  } catch (problem) {
    if (problem.status === 404) return { body: null };
    if (problem.status === 422) return { body: null, problem };
    throw problem;
  }
}

function details(order) {
  return facts([
    [t("order.status"), [orderStatus(order.status), order.reason ? h("span", { class: "note" }, " ", word("reason", order.reason)) : null]],
    [t("order.user"), order.userId],
    [t("order.show"), order.showId],
    [t("order.ticketType"), link(`#/stock/${order.ticketTypeId}`, order.ticketTypeId)],
    [t("order.quantity"), order.quantity],
    [t("order.amount"), money(order.totalAmount)],
    [t("order.mode"), badge("idle", word("mode", order.mode))],
    [t("order.placed"), time(order.orderTime)],
    [t("order.expires"), time(order.expireTime)],
    [t("order.lock"), order.lockId && code(order.lockId)],
    [t("order.payment"), order.paymentId && code(order.paymentId)],
    [t("version"), count(order.version)],
    [t("position"), count(order.position)],
  ]);
}

/** The saga's steps, done and to be done, and what nothing can go on without. */
function remains({ saga, waitsFor, deadlines, deadLetters }) {
  const done = saga?.done.map((one) => step("done", one.step, time(one.time))) ?? [];
  const next = saga?.remaining.map((one) => step("open", one)) ?? [];
  const dead = deadLetters.filter((letter) => letter.state === "dead" || letter.state === "behind");
  return section(t("order.remains"),
    saga ? null : h("p", { class: "note" }, t("order.noSaga")),
    done.length + next.length ? h("ol", { class: "steps" }, done, next) : null,
    waitsFor.map((wait) => notice(wait.on === "dead_letter" || wait.on === "operator" ? "bad" : "info",
      h("p", {}, h("strong", {}, word("wait", wait.on))), verbatim(wait.detail))),
    saga && !waitsFor.length && !saga.remaining.length ? h("p", { class: "note" }, t("order.nothingRemains")) : null,
    saga?.handedOver ? notice("bad", h("p", {}, t("order.handedOver"), " ", link(`#/sagas?status=stuck`, t("order.decide")))) : null,
    deadlines.length ? facts(deadlines.map((one) => [word("deadline", one.kind), due(one)])) : null,
    dead.map((letter) => h("p", {}, link(`#/dead-letters/${letter.id}`, t("order.letter", letter)))));
}

function step(state, name, at) {
  return h("li", { class: state, "data-key": `${state}-${name}-${at?.dateTime ?? ""}` },
    h("span", {}, word("step", name)), h("span", { class: "sr-only" }, ` ${t(`step.is.${state}`)}`), at ? h("span", { class: "note" }, at) : null);
}

function due({ dueAt, isDue }) {
  const inSeconds = (new Date(dueAt) - Date.now()) / 1_000;
  const text = isDue ? t("order.dueNow", { age: seconds(ageSeconds(dueAt)) }) : t("order.dueIn", { time: seconds(Math.max(0, inSeconds)) });
  return h("span", { title: dateTime(dueAt) }, text);
}
