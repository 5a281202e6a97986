// What operators did: who, what, to what, and why.

import * as api from "../api.js";
import { h } from "../dom.js";
import { known } from "../page.js";
import { t, word } from "../i18n.js";
import { pager, table } from "../parts/table.js";
import { badge, code, empty, field, heading, link, section, time } from "../parts/ui.js";

const ROWS = 50;
const FILTERS = ["actor", "action", "subject"];

export const audit = {
  title: "audit.title",
  everyMs: 5_000,
  load: ({ params }) => api.get("/v1/admin/audit", { ...known(params, [...FILTERS, "after"]), limit: ROWS }),
  render(view) {
    const { data, route } = view;
    const find = (event) => {
      event.preventDefault();
      view.go({ ...Object.fromEntries(new FormData(event.currentTarget)), after: null });
    };
    const input = (name) => field(t(`audit.${name}`), h("input", { name, value: route.params[name] ?? "", autocomplete: "off", spellcheck: "false" }));
    const isFiltered = FILTERS.some((name) => route.params[name]);
    return [
      heading(t("audit.title"), t("audit.lead")),
      h("form", { class: "filters", role: "search", onsubmit: find }, FILTERS.map(input),
        h("button", { type: "submit", class: "primary" }, t("filter")), isFiltered ? link("#/audit", t("filter.clear")) : null),
      section(null, data.items.length ? table(t("audit.title"), columns(), data.items, (row) => row.actionId) : empty(t(isFiltered ? "audit.noneFiltered" : "audit.none")),
        pager({ after: route.params.after, next: data.next }, (after) => view.go({ after }))),
    ];
  },
};

const columns = () => [
  { title: t("audit.at"), cell: (row) => time(row.recordedAt) },
  { title: t("audit.actor"), cell: (row) => row.actor },
  { title: t("audit.action"), cell: (row) => [badge("idle", word("action", row.action)), " ", code(row.action)] },
  { title: t("audit.subject"), cell: (row) => subject(row.subject) },
  { title: t("audit.detail"), wide: true, cell: (row) => detail(row.detail) },
];

function subject(text) {
  return /^ORD\d/.test(text) ? link(`#/orders/${text}`, text) : text;
}

/** A plain detail reads as a sentence; anything deeper as it is. */
function detail(value) {
  const entries = Object.entries(value ?? {});
  if (!entries.length) return "–";
  return h("dl", { class: "inline" }, entries.map(([name, one]) => h("div", {}, h("dt", {}, name), h("dd", {}, typeof one === "object" ? JSON.stringify(one) : String(one)))));
}
