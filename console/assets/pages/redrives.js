// Redrives under way and past; with an id in the address, one of them to its end.

import * as api from "../api.js";
import { h } from "../dom.js";
import { count, perSecond } from "../format.js";
import { t, word } from "../i18n.js";
import { ask } from "../parts/dialog.js";
import { pager, table } from "../parts/table.js";
import { badge, code, empty, facts, heading, link, notice, operate, progress, section, time } from "../parts/ui.js";

const TONES = { running: "info", done: "ok", failed: "bad", cancelled: "warn" };

const list = {
  load: ({ params }) => api.get("/v1/admin/redrives", { after: params.after }),
  render(view) {
    const { items, next } = view.data;
    return [
      heading(t("redrives.title"), t("redrives.lead"), link("#/dead-letters", t("dead-letters.title"))),
      section(null, items.length ? table(t("redrives.title"), columns(), items, (row) => row.redriveId) : empty(t("redrives.none"), t("redrives.noneText")),
        pager({ after: view.route.params.after, next }, (after) => view.go({ after }))),
    ];
  },
};

const columns = () => [
  { title: t("redrives.id"), cell: (row) => link(`#/redrives/${row.redriveId}`, shortId(row.redriveId)) },
  { title: t("redrives.state"), cell: (row) => badge(TONES[row.state] ?? "idle", word("redriveState", row.state)) },
  { title: t("redrives.delivered"), number: true, cell: (row) => `${count(row.delivered)} / ${count(row.selected)}` },
  { title: t("redrives.stopped"), number: true, cell: (row) => count(row.stoppedKeys) },
  { title: t("redrives.by"), cell: (row) => row.startedBy },
  { title: t("redrives.started"), number: true, cell: (row) => time(row.startedAt) },
  { title: t("redrives.ended"), number: true, cell: (row) => (row.endedAt ? time(row.endedAt) : "–") },
];

/** The end of a time-ordered id is what differs. */
function shortId(id) {
  return String(id).split("-").at(-1);
}

const one = {
  load: (route) => api.get(`/v1/admin/redrives/${encodeURIComponent(route.id)}`),
  render(view) {
    const redrive = view.data;
    const ratio = redrive.selected > 0 ? redrive.delivered / redrive.selected : 1;
    const title = t("redrives.one", { id: shortId(redrive.redriveId) });
    return [
      heading(h("span", { class: "title-row" }, title, badge(TONES[redrive.state] ?? "idle", word("redriveState", redrive.state))), null,
        link("#/redrives", t("redrives.title")), link("#/dead-letters", t("dead-letters.title"))),
      section(null,
        h("div", { class: "job" }, h("p", {}, h("strong", {}, t("redrives.progress", { delivered: count(redrive.delivered), selected: count(redrive.selected) }))), progress(ratio, title)),
        redrive.state === "done" && redrive.stoppedKeys === 0 ? notice("ok", h("p", {}, done(redrive))) : null,
        redrive.stoppedKeys > 0 ? notice("warn", h("p", {}, t("redrives.keysStopped", { n: redrive.stoppedKeys }), " ", link("#/dead-letters", t("dead-letters.title")))) : null,
        redrive.stopped?.length ? h("ul", { class: "log" }, redrive.stopped.map((one) => h("li", {}, code(one.consumer), " ", one.key ? code(one.key) : null, ": ", one.reason))) : null,
        redrive.state === "running" ? h("div", { class: "actions" }, operate(t("redrives.cancel"), () => cancel(view), { tone: "danger" })) : null,
        facts([
          [t("redrive.rate"), perSecond(redrive.ratePerSecond)], [t("redrives.by"), redrive.startedBy],
          [t("redrives.started"), time(redrive.startedAt)], [t("redrives.ended"), redrive.endedAt && time(redrive.endedAt)],
        ])),
    ];
  },
};

/** What is neither delivered nor stopped was resolved by somebody else meanwhile. */
function done({ delivered, selected }) {
  return delivered === selected ? t("redrives.allDone") : t("redrives.othersDid", { n: selected - delivered });
}

async function cancel(view) {
  const answer = await ask({ title: t("redrives.cancel.title"), text: t("redrives.cancel.text"), confirm: t("redrives.cancel"), tone: "danger" });
  if (answer) await view.act(() => api.send("POST", `/v1/admin/redrives/${encodeURIComponent(view.data.redriveId)}/cancel`), t("redrives.cancelled"));
}

export const redrives = {
  title: "redrives.title",
  everyMs: 1_000,
  load: (route, view) => (route.id ? one : list).load(route, view),
  render: (view) => (view.route.id ? one : list).render(view),
};
