// Sagas: how far the orders came, which hang and why, and deciding about one.

import * as api from "../api.js";
import { h } from "../dom.js";
import { ageSeconds, atLeast, count, seconds } from "../format.js";
import { t, word } from "../i18n.js";
import { ask } from "../parts/dialog.js";
import { pager, table } from "../parts/table.js";
import { badge, empty, heading, link, operate, orderLink, section, verbatim } from "../parts/ui.js";

const STATUSES = ["stuck", "running", "compensated", "completed"];
const TONES = { running: "info", completed: "ok", compensated: "idle" };
const ROWS = 50;

export const sagas = {
  title: "sagas.title",
  everyMs: 3_000,
  async load({ params }) {
    const [page, stuck] = await Promise.all([
      api.get("/v1/admin/sagas", { status: params.status ?? "stuck", after: params.after, limit: ROWS }),
      api.get("/v1/admin/sagas", { status: "stuck", limit: 500 }),
    ]);
    return { page, stuck: new Set(stuck.items.map((saga) => saga.orderId)), hasMoreStuck: stuck.next !== null };
  },
  render(view) {
    const { page, stuck, hasMoreStuck } = view.data;
    const status = view.route.params.status ?? "stuck";
    return [
      heading(t("sagas.title"), t("sagas.lead")),
      h("nav", { class: "tabs", "aria-label": t("sagas.which") }, STATUSES.map((one) =>
        h("a", { href: `#/sagas?status=${one}`, "aria-current": one === status ? "true" : null }, t(`saga.${one}`), one === "stuck" && stuck.size ? h("span", { class: "count" }, atLeast(stuck.size, hasMoreStuck)) : null))),
      section(null,
        page.items.length ? table(t("sagas.title"), columns(view, stuck), page.items, (row) => row.orderId)
          : empty(t(`sagas.none.${status}`), status === "stuck" ? t("sagas.noneText") : null),
        pager({ after: view.route.params.after, next: page.next }, (after) => view.go({ after }))),
    ];
  },
};

const columns = (view, stuck) => [
  { title: t("order.id"), cell: (row) => orderLink(row.orderId) },
  { title: t("sagas.status"), cell: (row) => [badge(stuck.has(row.orderId) ? "bad" : TONES[row.status] ?? "idle", t(`saga.${stuck.has(row.orderId) ? "stuck" : row.status}`)), row.handedOver ? badge("bad", t("sagas.handedOver")) : null] },
  { title: t("sagas.step"), cell: (row) => h("span", { class: "whole" }, word("sagaStep", row.step)) },
  { title: t("sagas.for"), number: true, cell: (row) => (row.status === "running" ? seconds(ageSeconds(row.since)) : "–") },
  { title: t("sagas.remaining"), wide: true, cell: (row) => (row.remaining.length ? row.remaining.map((step) => word("step", step)).join(" → ") : t("sagas.nothing")) },
  { title: t("sagas.why"), wide: true, cell: (row) => why(row) },
  { title: t("actions"), cell: (row) => (row.status === "running" ? h("div", { class: "actions" },
    operate(t("sagas.retry"), () => resolve(view, row, "retry"), { name: `${t("sagas.retry")}: ${row.orderId}` }),
    operate(t("sagas.skip"), () => resolve(view, row, "skip"), { tone: "danger", name: `${t("sagas.skip")}: ${row.orderId}` })) : "") },
];

function why({ deadLetter: letter, refundFailure: refund, reason }) {
  if (letter) return [link(`#/dead-letters/${letter.id}`, t("order.letter", letter)), verbatim(letter.reason)];
  if (refund) return [t("sagas.refundFailed", { payment: refund.paymentId, n: count(refund.attempts) }), verbatim(refund.reason)];
  return reason ? word("reason", reason) : "–";
}

async function resolve(view, { orderId, step }, action) {
  const answer = await ask({
    title: t(`sagas.${action}.title`, { id: orderId }), text: t(`sagas.${action}.text`, { step: word("sagaStep", step) }),
    fields: [{ name: "reason", label: t("reason"), hint: t("reason.hint"), required: true }],
    typed: action === "skip" ? orderId : null, confirm: t(`sagas.${action}`), tone: action === "skip" ? "danger" : "primary",
  });
  if (!answer) return;
  const path = `/v1/admin/sagas/${encodeURIComponent(orderId)}/resolve`;
  await view.act(() => api.send("POST", path, { body: { action, ...answer } }),
    (done) => (done.stopped ? t("sagas.stopped", { reason: done.stopped }) : t("sagas.resolved", { step: word("sagaStep", done.step) })));
}
