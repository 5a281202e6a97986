// What is wrong, in words, the worst first, and where to look at it. Made of one measurement.

import { ageSeconds, atLeast, count, isKnown, milliseconds, seconds } from "./format.js";
import { t } from "./i18n.js";

/** Above these something is said; Prometheus has its own rules in ops/. */
export const LIMITS = {
  outboxAgeSeconds: 30,
  outboxAgeBadSeconds: 120,
  consumerLagMessages: 1_000,
  projectionLagSeconds: 10,
  criticalTimeP99Ms: 5_000,
};

const ORDER = ["bad", "warn", "info"];

/** `[{tone, text, href}]`. */
export function alarms(now) {
  const found = [
    ...relay(now.lag), ...outbox(now.lag.outbox), ...missing(now.lag.missing), ...consumers(now.lag.consumers),
    ...projections(now.lag.projections), ...people(now), ...speed(now.lag.criticalTime), ...verification(now.lag.verification),
  ];
  return found.sort((one, other) => ORDER.indexOf(one.tone) - ORDER.indexOf(other.tone));
}

function* relay({ relay, outbox }) {
  if (!relay.leaseOwner) yield { tone: "bad", text: t("alarm.noRelay"), href: "#/outbox" };
  else if (relay.circuit === "open") yield { tone: "bad", text: t("alarm.brokerAway"), href: "#/outbox" };
  else if (relay.circuit === "half_open") yield { tone: "warn", text: t("alarm.brokerProbed"), href: "#/outbox" };
  if (outbox.parkedMessages > 0) yield { tone: "warn", text: t("alarm.parked", { n: outbox.parkedMessages }), href: "#/outbox" };
}

function* outbox({ oldestUnsentAgeSeconds: age, pendingMessages }) {
  if (age > LIMITS.outboxAgeSeconds) {
    const tone = age > LIMITS.outboxAgeBadSeconds ? "bad" : "warn";
    yield { tone, text: t("alarm.outboxOld", { age: seconds(age), n: count(pendingMessages) }), href: "#/outbox" };
  }
}

function* missing(missing) {
  if (missing?.messages > 0) yield { tone: "bad", text: t("alarm.missing", { n: missing.messages }), href: "#/consumers" };
}

function* consumers(consumers) {
  const down = [...new Set(consumers.filter((one) => one.up === false).map((one) => one.group))];
  if (down.length) yield { tone: "bad", text: t("alarm.groupsDown", { n: down.length, groups: down.map(shortGroup).join(", ") }), href: "#/consumers" };
  const unknown = [...new Set(consumers.filter((one) => !isKnown(one.lagMessages)).map((one) => one.group))];
  if (unknown.length) yield { tone: "warn", text: t("alarm.lagUnknown", { n: unknown.length }), href: "#/consumers" };
  for (const one of consumers.filter((one) => one.lagMessages > LIMITS.consumerLagMessages)) {
    yield { tone: "warn", text: t("alarm.backlog", { group: shortGroup(one.group), topic: one.topic, n: count(one.lagMessages) }), href: "#/consumers" };
  }
}

function* projections(projections) {
  for (const one of projections) {
    if (one.lagSeconds > LIMITS.projectionLagSeconds) {
      yield { tone: "warn", text: t("alarm.projectionBehind", { name: one.name, age: seconds(one.lagSeconds) }), href: "#/projections" };
    }
    if (one.rebuild && ["running", "verifying"].includes(one.rebuild.state)) yield { tone: "info", text: t("alarm.rebuilding", { name: one.name }), href: "#/projections" };
    else if (one.rebuild?.state === "failed" && ageSeconds(one.rebuild.endedAt) < 86_400) yield { tone: "warn", text: t("alarm.rebuildFailed", { name: one.name }), href: "#/projections" };
    else if (one.rebuildDue) yield { tone: "info", text: t("alarm.rebuildDue", { name: one.name }), href: "#/projections" };
  }
}

/** What waits for a person. */
function* people({ deadLetters, waitingBehind, stuckSagas, hasMoreStuckSagas, isFallingBack }) {
  if (deadLetters > 0) yield { tone: "warn", text: t("alarm.deadLetters", { n: deadLetters, behind: count(waitingBehind) }), href: "#/dead-letters" };
  if (stuckSagas > 0) yield { tone: "bad", text: t("alarm.stuckSagas", { n: hasMoreStuckSagas ? atLeast(stuckSagas, true) : stuckSagas }), href: "#/sagas?status=stuck" };
  if (isFallingBack) yield { tone: "warn", text: t("alarm.fallingBack"), href: "#/rollout" };
}

function* speed(criticalTime) {
  const p99 = criticalTime?.p99Ms;
  if (p99 > LIMITS.criticalTimeP99Ms) yield { tone: "warn", text: t("alarm.slow", { time: milliseconds(p99) }), href: "#/orders" };
}

function* verification(verification) {
  if (verification?.violations > 0) yield { tone: "bad", text: t("alarm.violated", { n: verification.violations }), href: "#/orders" };
}

/** `ticket-consumer-group-stock` is long, and all begin the same. */
export function shortGroup(group) {
  return group.replace(/^.*consumer-group-/, "");
}
