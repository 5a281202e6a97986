// Async against sync: a sentence a measure, and a bar each to see by how much.

import { h } from "../../dom.js";
import { count, isKnown, milliseconds, percent } from "../../format.js";
import { t, word } from "../../i18n.js";
import { table } from "../../parts/table.js";
import { badge, notice, shares } from "../../parts/ui.js";

const MEASURES = [
  { measure: "acceptLatency", of: (cohort) => cohort.acceptLatencyMs.p50, tail: (cohort) => cohort.acceptLatencyMs.p99, show: milliseconds },
  { measure: "timeToDecision", of: (cohort) => cohort.timeToDecisionMs.p50, tail: (cohort) => cohort.timeToDecisionMs.p99, show: milliseconds },
  { measure: "refusalRate", of: (cohort) => cohort.refusalRate, show: percent },
  { measure: "failureRate", of: (cohort) => cohort.failureRate, show: percent },
];

/** `{since, cohorts: {async, sync}, differences, excluded}`. */
export function report({ cohorts, differences, excluded, isTruncated }) {
  const rows = MEASURES.map((one) => ({ ...one, async: one.of(cohorts.async), sync: one.of(cohorts.sync), difference: differences.find((other) => other.measure === one.measure) }));
  const left = Object.entries(excluded ?? {}).map(([cause, n]) => `${word("cohortCause", cause)}: ${count(n)}`).join(", ");
  return [
    h("p", {}, t("report.counts", { async: count(cohorts.async.count), sync: count(cohorts.sync.count) })),
    cohorts.async.count === 0 || cohorts.sync.count === 0 ? notice("info", h("p", {}, t("report.oneSided"))) : h("ul", { class: "sentences" }, rows.map(sentence)),
    table(t("report.title"), columns(cohorts), rows, (row) => row.measure),
    h("p", { class: "note" }, t("report.method"), left ? ` ${t("report.excluded", { left })}` : "", isTruncated ? ` ${t("report.truncated")}` : ""),
  ];
}

function sentence({ measure, async: asynchronous, sync, show, difference }) {
  const name = t(`measure.${measure}`);
  if (!isKnown(asynchronous) || !isKnown(sync)) return h("li", {}, t("report.unmeasured", { name }));
  const values = { name, async: show(asynchronous), sync: show(sync) };
  if (!isKnown(difference?.isMoreThanNoise)) return h("li", {}, t("report.tooFew", values));
  if (!difference.isMoreThanNoise) return h("li", {}, t("report.noise", values));
  return h("li", {}, h("strong", {}, t(asynchronous < sync ? "report.asyncBetter" : "report.syncBetter", values)));
}

const columns = (cohorts) => [
  { title: t("report.measure"), cell: (row) => t(`measure.${row.measure}`) },
  { title: t("mode.async"), number: true, cell: (row) => value(row, cohorts.async, row.async) },
  { title: t("mode.sync"), number: true, cell: (row) => value(row, cohorts.sync, row.sync) },
  { title: t("report.compared"), wide: true, cell: bars },
  { title: t("report.verdict"), cell: verdict },
];

function value({ show, tail }, cohort, middle) {
  const p99 = tail?.(cohort);
  return [show(middle), tail && isKnown(p99) ? h("span", { class: "note" }, ` p99 ${show(p99)}`) : null];
}

/** Both against the larger of the two. */
function bars({ async: asynchronous, sync, show }) {
  const largest = Math.max(asynchronous ?? 0, sync ?? 0);
  if (!(largest > 0)) return "–";
  const bar = (tone, name, part) => shares([{ tone, value: part ?? 0 }, { tone: "rest", value: largest - (part ?? 0) }], `${name}: ${show(part)}`);
  return h("div", { class: "pair" }, bar("async", t("mode.async"), asynchronous), bar("sync", t("mode.sync"), sync));
}

function verdict({ difference }) {
  if (!isKnown(difference?.isMoreThanNoise)) return badge("idle", t("report.verdict.few"));
  return difference.isMoreThanNoise ? badge("info", t("report.verdict.real")) : badge("idle", t("report.verdict.noise"));
}
