// Consumer groups: how far each is behind in each topic, also while nobody of it runs. What is not known says so.

import { shortGroup } from "../alarms.js";
import { h } from "../dom.js";
import { clock, count, isKnown, perSecond, seconds } from "../format.js";
import { t } from "../i18n.js";
import * as live from "../live.js";
import { measured } from "../parts/measured.js";
import { table } from "../parts/table.js";
import { badge, code, empty, heading, link, notice, section, sparkline } from "../parts/ui.js";

export const consumers = {
  title: "consumers.title",
  isLive: true,
  load: async () => ({}),
  render: () => [
    heading(t("consumers.title"), t("consumers.lead")),
    measured(({ lag }) => [missing(lag.missing), section(null, list(lag.consumers))]),
  ],
};

/** Zero lag says that all was fetched, not that all was applied: that is counted. */
function missing(missing) {
  if (!missing || !isKnown(missing.messages)) return notice("info", h("p", {}, t("missing.unknown")));
  const checked = t("missing.checked", { position: count(missing.checkedPosition), time: clock(missing.checkedAt) });
  if (missing.messages === 0) return notice("ok", h("p", {}, h("strong", {}, t("missing.none")), " ", checked));
  const columns = [
    { title: t("consumers.group"), cell: (row) => shortGroup(row.group) },
    { title: t("topic"), cell: (row) => code(row.topic) },
    { title: t("position"), number: true, cell: (row) => count(row.position) },
    { title: t("messageId"), cell: (row) => code(row.messageId) },
  ];
  return section(null, notice("bad", h("p", {}, h("strong", {}, t("alarm.missing", { n: missing.messages })), " ", checked)),
    table(t("missing.title"), columns, missing.found, (row) => `${row.group}${row.messageId}`));
}

function list(consumers) {
  if (!consumers.length) return empty(t("consumers.none"));
  const of = (row) => (one) => one.lag.consumers.find((other) => other.group === row.group && other.topic === row.topic)?.lagMessages;
  const columns = [
    { title: t("consumers.group"), cell: (row) => h("span", { title: row.group }, h("strong", {}, shortGroup(row.group))) },
    { title: t("topic"), cell: (row) => code(row.topic) },
    { title: t("consumers.up"), cell: (row) => up(row.up) },
    { title: t("consumers.lagMessages"), number: true, cell: (row) => messages(row.lagMessages) },
    { title: t("consumers.lagSeconds"), number: true, cell: (row) => (isKnown(row.lagSeconds) ? seconds(row.lagSeconds) : unknown()) },
    { title: t("consumers.rate"), number: true, cell: (row) => (isKnown(row.appliedPerSecond) ? perSecond(row.appliedPerSecond) : unknown()) },
    { title: t("consumers.trend"), cell: (row) => sparkline(live.history().map(of(row))) },
    { title: t("consumers.deadLetters"), number: true, cell: (row) => (row.deadLetters > 0 ? link(`#/dead-letters?consumer=${row.consumer}`, count(row.deadLetters)) : isKnown(row.deadLetters) ? "0" : unknown()) },
  ];
  return table(t("consumers.title"), columns, consumers, (row) => `${row.group} ${row.topic}`);
}

function up(isUp) {
  if (!isKnown(isUp)) return unknown();
  return isUp ? badge("ok", t("consumers.isUp")) : badge("bad", t("consumers.isDown"));
}

function messages(lag) {
  if (!isKnown(lag)) return unknown();
  return lag > 1_000 ? badge("warn", count(lag)) : count(lag);
}

function unknown() {
  return h("span", { class: "unknown" }, t("unknown"));
}
