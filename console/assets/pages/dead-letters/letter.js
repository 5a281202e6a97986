// One dead letter: the message, the exact error, its history, and what can be done about it.

import * as api from "../../api.js";
import { h } from "../../dom.js";
import { count, dateTime } from "../../format.js";
import { t, word } from "../../i18n.js";
import { ask } from "../../parts/dialog.js";
import { table } from "../../parts/table.js";
import { code, empty, facts, heading, letterState, link, notice, operate, orderLink, section, time } from "../../parts/ui.js";

const UNDELIVERED = ["dead", "behind"];

export const letter = {
  load: (route) => api.get(`/v1/admin/dead-letters/${encodeURIComponent(route.id)}`),
  render(view) {
    const one = view.data;
    const isOpen = UNDELIVERED.includes(one.state);
    return [
      heading(h("span", { class: "title-row" }, t("letter.title", { id: one.id }), letterState(one.state)),
        null, link("#/dead-letters", t("letter.all"))),
      section(t("letter.error"), h("pre", { class: "reason", tabindex: "0" }, one.reason), isOpen ? actions(view) : notice("info", h("p", {}, t("letter.resolved", { by: one.resolvedBy ?? "", at: dateTime(one.resolvedAt) })))),
      h("div", { class: "columns" },
        section(t("letter.message"), facts([
          [t("letters.filter.consumer"), code(one.consumer)], [t("topic"), code(one.topic)],
          [t("letters.key"), one.waitingKey?.startsWith("ORD") ? orderLink(one.waitingKey) : one.waitingKey && code(one.waitingKey)],
          [t("letter.cause"), one.cause],
          [t("messageId"), one.messageId && code(one.messageId)],
          [t("letters.attempts"), count(one.attempts)], [t("letters.since"), time(one.createdAt)],
          [t("letter.place"), one.broker && code(`${one.broker}/${one.queue}/${one.queueOffset}`)],
          ...Object.entries(one.properties ?? {}).map(([name, value]) => [name, code(value)]),
        ])),
        section(t("letter.body"), one.body === undefined || one.body === null ? empty(t("letter.noBody")) : h("pre", { tabindex: "0" }, pretty(one.body)),
          one.originalBody ? h("details", {}, h("summary", {}, t("letter.original")), h("pre", { tabindex: "0" }, pretty(one.originalBody))) : null)),
      section(t("letter.history"), history(one)),
    ];
  },
};

/** Indented with every digit kept; as it is where it is not JSON (that may be why it is here), or the browser can't keep them. */
function pretty(body) {
  if (!JSON.rawJSON) return body;
  const exact = (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value);
  try {
    return JSON.stringify(JSON.parse(body, exact), null, 2);
  } catch {
    return body;
  }
}

function history({ history }) {
  if (!history?.length) return empty(t("letter.noHistory"));
  const columns = [
    { title: t("letter.at"), cell: (row) => time(row.at) },
    { title: t("audit.actor"), cell: (row) => row.actor ?? "–" },
    { title: t("letter.action"), cell: (row) => word("letterAction", row.action) },
    { title: t("letters.attempts"), number: true, cell: (row) => (row.attempt ? count(row.attempt) : "–") },
    { title: t("letters.reason"), wide: true, cell: (row) => row.reason ?? "–" },
  ];
  return table(t("letter.history"), columns, history, (row) => `${row.at} ${row.action}`);
}

function actions(view) {
  return h("div", { class: "actions" },
    operate(t("letter.redrive"), () => redrive(view), { tone: "primary" }),
    operate(t("letter.edit"), () => edit(view)),
    operate(t("letter.discard"), () => discard(view), { tone: "danger" }));
}

const said = (done) => (done?.stoppedAt ? t("letter.stopped", { id: done.stoppedAt, reason: done.reason }) : t("letter.delivered", { n: done?.delivered ?? 0 }));

async function redrive(view) {
  const answer = await ask({ title: t("letter.redrive.title"), text: t("letter.redrive.text"), confirm: t("letter.redrive") });
  if (answer) await view.act(() => api.send("POST", `/v1/admin/dead-letters/${view.data.id}/redrive`), said);
}

async function edit(view) {
  const fields = [
    { name: "body", label: t("letter.body"), rows: 12, value: pretty(view.data.body ?? ""), required: true },
    { name: "reason", label: t("reason"), hint: t("reason.hint"), required: true },
  ];
  const answer = await ask({ title: t("letter.edit.title"), text: t("letter.edit.text"), fields, confirm: t("letter.edit.confirm") });
  if (answer) await view.act(() => api.send("POST", `/v1/admin/dead-letters/${view.data.id}/redrive`, { body: answer }), said);
}

async function discard(view) {
  const { id } = view.data;
  const fields = [{ name: "reason", label: t("reason"), hint: t("reason.hint"), required: true }];
  const answer = await ask({ title: t("letter.discard.title", { id }), text: t("letter.discard.text"), fields, typed: String(id), confirm: t("letter.discard"), tone: "danger" });
  if (answer) await view.act(() => api.send("DELETE", `/v1/admin/dead-letters/${id}`, { parameters: answer }), t("letter.discarded"));
}
