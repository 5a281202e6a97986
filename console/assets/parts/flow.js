// The way of an order through the system: seven stations, how fast it flows between them and how far each is behind.

import { LIMITS, shortGroup } from "../alarms.js";
import { h, s } from "../dom.js";
import { compact, isKnown, milliseconds, perSecond, seconds } from "../format.js";
import { t } from "../i18n.js";

/** Drawn with a pen of 2 on a field of 24 by 24. */
const ICONS = {
  rest: "M4 8h16v8H4zM8 12h.01M12 12h8",
  ledger: "M6 4h12v16H6zM9 8h6M9 12h6M9 16h3",
  outbox: "M4 13v6h16v-6M4 13l3-8h10l3 8M4 13h5l1 3h4l1-3h5",
  relay: "M4 12h12M12 6l6 6-6 6M20 5v14",
  broker: "M5 7h14M5 12h14M5 17h14M8 5v14",
  consumers: "M12 4v6M12 10l-6 5M12 10l6 5M6 15v4M18 15v4M12 10v9",
  models: "M5 6c0-3 14-3 14 0s-14 3-14 0zM5 6v12c0 3 14 3 14 0V6M5 12c0 3 14 3 14 0",
};

/** `now` is the newest measurement. */
export function flow(now) {
  const { lag, eventsPerSecond, ordersPerSecond } = now;
  const stations = [
    rest(ordersPerSecond, lag.criticalTime),
    { name: "ledger", href: "#/orders", tone: "ok", value: compact(lag.head), unit: t("flow.events"), rate: eventsPerSecond },
    outbox(lag.outbox),
    relay(lag.relay),
    broker(lag),
    consumers(lag.consumers, now.deadLetters),
    models(lag.projections),
  ];
  // What flows into a station; the first has nothing before it.
  const into = [null, ordersPerSecond, eventsPerSecond, lag.relay.sentPerSecond, lag.relay.sentPerSecond, applied(lag.consumers), eventsPerSecond];
  const items = stations.flatMap((one, index) => [index ? pipe(into[index], one.name) : null, station(one)]);
  return h("div", { class: "flow-frame" },
    h("ol", { class: "flow", "aria-label": t("flow.title") }, items),
    h("p", { class: "flow-back" }, h("span", {}, t("flow.back"))));
}

function rest(ordersPerSecond, criticalTime) {
  const p99 = criticalTime?.p99Ms;
  const tone = p99 > LIMITS.criticalTimeP99Ms ? "warn" : "ok";
  return { name: "rest", href: "#/orders", tone, value: perSecond(ordersPerSecond), unit: t("flow.orders"), note: isKnown(p99) ? t("flow.visible", { time: milliseconds(p99) }) : t("flow.noOrders") };
}

function outbox({ pendingMessages, oldestUnsentAgeSeconds: age }) {
  const tone = age > LIMITS.outboxAgeBadSeconds ? "bad" : age > LIMITS.outboxAgeSeconds ? "warn" : "ok";
  const note = pendingMessages > 0 ? t("flow.oldest", { age: seconds(age) }) : t("flow.allSent");
  return { name: "outbox", href: "#/outbox", tone, value: compact(pendingMessages), unit: t("flow.waiting"), note };
}

function relay({ leaseOwner, sentPerSecond }) {
  if (!leaseOwner) return { name: "relay", href: "#/outbox", tone: "bad", value: t("flow.none"), unit: t("flow.noRelay") };
  return { name: "relay", href: "#/outbox", tone: "ok", value: perSecond(sentPerSecond), unit: t("flow.sent"), note: leaseOwner.split("-").slice(0, 2).join(" ") };
}

function broker({ relay, consumers }) {
  const tones = { closed: "ok", half_open: "warn", open: "bad" };
  const waiting = consumers.every((one) => isKnown(one.lagMessages)) ? consumers.reduce((sum, one) => sum + one.lagMessages, 0) : null;
  const known = tones[relay.circuit];
  const note = known ? t(`circuit.${relay.circuit}`) : t("flow.circuitUnknown");
  return { name: "broker", href: "#/consumers", tone: known ?? "idle", value: compact(waiting), unit: t("flow.notConsumed"), note };
}

function consumers(consumers, deadLetters) {
  const groups = new Map(consumers.map((one) => [one.group, one.up]));
  const up = [...groups.values()].filter((one) => one === true).length;
  const down = [...groups].filter(([, isUp]) => isUp === false).map(([group]) => shortGroup(group));
  const isUnknown = [...groups.values()].every((one) => !isKnown(one));
  const tone = down.length ? "bad" : deadLetters > 0 ? "warn" : isUnknown ? "idle" : "ok";
  const note = down.length ? t("flow.down", { groups: down.slice(0, 2).join(", ") }) : t("flow.deadLetters", { n: deadLetters });
  return { name: "consumers", href: "#/consumers", tone, value: isUnknown ? t("unknown") : `${up}/${groups.size}`, unit: t("flow.groupsUp"), note };
}

function models(projections) {
  const behind = Math.max(0, ...projections.map((one) => one.lagEvents));
  const ages = projections.map((one) => one.lagSeconds).filter(isKnown);
  const age = ages.length ? Math.max(...ages) : null;
  const tone = age > LIMITS.projectionLagSeconds ? "warn" : "ok";
  return { name: "models", href: "#/projections", tone, value: compact(behind), unit: t("flow.eventsBehind"), note: behind > 0 ? t("flow.behind", { age: seconds(age) }) : t("flow.current") };
}

function applied(consumers) {
  const known = consumers.map((one) => one.appliedPerSecond).filter(isKnown);
  return known.length ? known.reduce((sum, one) => sum + one, 0) : null;
}

function station({ name, href, tone, value, unit, note }) {
  return h("li", { class: `station ${tone}`, "data-key": name },
    h("a", { href },
      h("span", { class: "station-name" }, icon(name), t(`flow.${name}`)),
      h("span", { class: "station-value" }, value),
      h("span", { class: "station-unit" }, unit),
      h("span", { class: "station-note" }, note ?? " "),
      h("span", { class: "sr-only" }, t(`tone.${tone}`))));
}

function icon(name) {
  return s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": true }, s("path", { d: ICONS[name] }));
}

/** Moves as fast as there is something to move. */
function pipe(rate, into) {
  const speed = !isKnown(rate) ? "unknown" : rate <= 0 ? "still" : rate < 5 ? "slow" : rate < 100 ? "steady" : "fast";
  return h("li", { class: `pipe ${speed}`, "data-key": `pipe-${into}`, "aria-hidden": true },
    s("svg", { viewBox: "0 0 48 12", preserveAspectRatio: "none" }, s("path", { class: "bed", d: "M0 6h48" }), s("path", { class: "stream", d: "M0 6h48" })));
}
