// Everything at one look: what is wrong, how it flows now, and how it went over the last hours.

import { alarms } from "../alarms.js";
import * as api from "../api.js";
import { h } from "../dom.js";
import { clock, compact, count, dateTime, isKnown, milliseconds, perSecond, seconds } from "../format.js";
import { t } from "../i18n.js";
import * as live from "../live.js";
import { chart } from "../parts/chart.js";
import { flow } from "../parts/flow.js";
import { measured } from "../parts/measured.js";
import { table } from "../parts/table.js";
import { empty, figure, figures, heading, problem, section, select, sparkline } from "../parts/ui.js";

const CHARTS = ["throughput", "lag", "outbox-age", "critical-time"];
const PERIODS_MINUTES = [15, 60, 360, 1_440];
const DEFAULT_MINUTES = 60;
const ROWS_OF_HISTORY = 24;

export const overview = {
  title: "overview.title",
  everyMs: 15_000,
  isLive: true,
  async load(route) {
    const minutes = period(route);
    // The picture is worth showing without its past.
    const history = await api.get("/v1/admin/history", { minutes }).catch((error) => ({ samples: [], error }));
    return { history };
  },
  render(view) {
    return [
      heading(t("overview.title"), t("overview.lead")),
      measured(present),
      past(view),
    ];
  },
};

function period(route) {
  const asked = Number(route.params.minutes);
  return PERIODS_MINUTES.includes(asked) ? asked : DEFAULT_MINUTES;
}

function present(now) {
  return [condition(now), section(null, flow(now)), figuresOf(now)];
}

function condition(now) {
  const found = alarms(now);
  if (!found.length) {
    return h("section", { class: "condition ok", "aria-label": t("alarms.title") },
      h("p", {}, h("strong", {}, t("alarms.none")), " ", t("alarms.noneText")));
  }
  const line = ({ tone, text, href }) => h("li", { class: tone, "data-key": text.replace(/[\d.,]+/g, "#") },
    h("span", { class: "sr-only" }, t(`tone.${tone}`), ": "), h("span", { class: "alarm-text" }, text), h("a", { href, "aria-label": `${t("alarms.look")}: ${text}` }, t("alarms.look")));
  return h("section", { class: `condition ${found[0].tone}`, "aria-label": t("alarms.title") },
    h("h2", {}, t("alarms.count", { n: found.length })), h("ul", { class: "alarms" }, found.map(line)));
}

function figuresOf(now) {
  const recent = live.history();
  const spark = (pick) => sparkline(recent.map(pick));
  const { lag } = now;
  const behind = (one) => Math.max(0, ...one.lag.projections.map((projection) => projection.lagEvents));
  const inBroker = (one) => sum(one.lag.consumers.map((consumer) => consumer.lagMessages));
  const age = lag.outbox.oldestUnsentAgeSeconds;
  const critical = lag.criticalTime;
  return h("div", { class: "now" },
    moving(t("now.events"), perSecond(now.eventsPerSecond), t("now.head", { n: count(lag.head) }), spark((one) => one.eventsPerSecond)),
    moving(t("now.outbox"), compact(lag.outbox.pendingMessages), isKnown(age) ? t("flow.oldest", { age: seconds(age) }) : t("flow.allSent"), spark((one) => one.lag.outbox.pendingMessages)),
    moving(t("now.consumers"), compact(inBroker(now)), t("now.acrossGroups"), spark(inBroker)),
    moving(t("now.projections"), compact(behind(now)), t("now.slowest"), spark(behind)),
    moving(t("now.critical"), milliseconds(critical?.p99Ms), isKnown(critical?.p99Ms) ? t("now.criticalNote", { p50: milliseconds(critical.p50Ms), n: count(critical.orders) }) : t("flow.noOrders"), spark((one) => one.lag.criticalTime?.p99Ms)));
}

/** Null when a part is not known: then the whole is not. */
function sum(values) {
  return values.every(isKnown) ? values.reduce((all, one) => all + one, 0) : null;
}

function moving(name, value, note, spark) {
  return h("div", { class: "card moving" }, figures(figure(name, value, { note })), spark);
}

function past(view) {
  const minutes = period(view.route);
  const { history } = view.data;
  // Kept, so that a chart goes on drawing itself while everything around it is drawn anew.
  // One that is not shown ends by itself, so it is made when there is something to show.
  if (history.error || !history.samples.length) view.state.charts = null;
  else view.state.charts ??= CHARTS.map((name) => chart(name, minutes));
  const choose = (event) => view.go({ minutes: event.target.value });
  const options = PERIODS_MINUTES.map((one) => [String(one), t(`period.${one}`)]);
  return h("section", { class: "card" },
    h("div", { class: "section-head" }, h("h2", {}, t("past.title")),
      select({ "aria-label": t("past.period"), onchange: choose }, options, String(minutes))),
    history.error ? problem(history.error)
      : !history.samples.length ? empty(t("past.empty"), t("past.emptyText"))
      : [h("div", { class: "charts" }, view.state.charts), asTable(history)]);
}

/** The same as the charts, for those who read or hear figures. */
function asTable({ samples }) {
  const step = Math.max(1, Math.ceil(samples.length / ROWS_OF_HISTORY));
  const rows = samples.filter((_, index) => (samples.length - 1 - index) % step === 0).reverse();
  const columns = [
    { title: t("past.at"), cell: (row) => h("time", { datetime: row.at, title: dateTime(row.at) }, clock(row.at)) },
    { title: t("past.orders"), number: true, cell: (row) => perSecond(row.ordersPerSecond) },
    { title: t("past.events"), number: true, cell: (row) => perSecond(row.eventsPerSecond) },
    { title: t("past.sent"), number: true, cell: (row) => perSecond(row.sentPerSecond) },
    { title: t("past.outbox"), number: true, cell: (row) => count(row.outboxPending) },
    { title: t("past.age"), number: true, cell: (row) => seconds(row.outboxAgeSeconds) },
    { title: t("past.consumers"), number: true, cell: (row) => count(row.consumerLagMessages) },
    { title: t("past.projections"), number: true, cell: (row) => count(row.projectionLagEvents) },
    { title: t("past.deadLetters"), number: true, cell: (row) => count(row.deadLetters) },
    { title: t("past.critical"), number: true, cell: (row) => milliseconds(row.criticalTimeP99Ms) },
  ];
  return h("details", { class: "as-table" }, h("summary", {}, t("past.asTable")), table(t("past.title"), columns, rows, (row) => row.at));
}
