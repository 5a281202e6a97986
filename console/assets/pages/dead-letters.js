// Dead letters: by cause first, then one by one; redriven in order, the dry run shown before anything is sent.

import * as api from "../api.js";
import { h } from "../dom.js";
import { ageSeconds, count, seconds } from "../format.js";
import { t, word } from "../i18n.js";
import { known } from "../page.js";
import { pager, table } from "../parts/table.js";
import { code, empty, field, heading, letterState, link, operate, orderLink, section, select, time } from "../parts/ui.js";
import { redriveAll } from "./dead-letters/bulk.js";
import { letter } from "./dead-letters/letter.js";

const ROWS = 50;
const FILTERS = ["consumer", "topic", "cause", "key"];
const STATES = ["dead", "behind", "redriven", "discarded"];

const list = {
  async load({ params }) {
    const [groups, letters] = await Promise.all([
      api.get("/v1/admin/dead-letters/groups"),
      api.get("/v1/admin/dead-letters", { ...known(params, [...FILTERS, "state", "after"]), limit: ROWS }),
    ]);
    return { groups: groups.items, letters };
  },
  render(view) {
    const { groups, letters } = view.data;
    const { params } = view.route;
    const filter = known(params, FILTERS);
    const isFiltered = Object.keys(params).length > 0;
    return [
      heading(t("dead-letters.title"), t("dead-letters.lead"), link("#/redrives", t("redrives.title"))),
      section(t("letters.groups"), groups.length ? h("ul", { class: "groups" }, groups.map((one) => group(view, one))) : empty(t("letters.none"), t("letters.noneText"))),
      section(t("letters.list"), search(view),
        Object.keys(filter).length > 0 && !params.state && groups.length ? operate(t("letters.redriveFiltered"), () => redriveAll(view, filter)) : null,
        letters.items.length ? table(t("letters.list"), columns(), letters.items)
          : empty(t(isFiltered ? "letters.noneFiltered" : "letters.none")),
        pager({ after: params.after, next: letters.next }, (after) => view.go({ after }))),
    ];
  },
};

/** What failed in the same way, as one thing. */
function group(view, one) {
  const { cause, consumer, topic } = one;
  const name = `${consumer}, ${topic}: ${cause}`;
  return h("li", { class: "group", "data-key": `${cause} ${consumer} ${topic}` },
    h("div", { class: "group-what" },
      h("p", { class: "reason" }, cause),
      one.reason === cause ? null : h("p", { class: "example" }, one.reason),
      h("p", { class: "note" }, code(consumer), " ← ", code(topic), " · ",
        t("letters.between", { oldest: seconds(ageSeconds(one.oldestAt)), newest: seconds(ageSeconds(one.newestAt)) }))),
    h("dl", { class: "group-counts" },
      pair(t("letters.dead"), count(one.dead)), pair(t("letters.behind"), count(one.behind)), pair(t("letters.keys"), count(one.keys))),
    h("div", { class: "actions" },
      operate(t("letters.redriveGroup"), () => redriveAll(view, { cause, consumer, topic }), { tone: "primary", name: `${t("letters.redriveGroup")}: ${name}` }),
      h("a", { href: `#/dead-letters?${new URLSearchParams({ consumer, topic, cause })}`, "aria-label": `${t("letters.show")}: ${name}` }, t("letters.show")),
      h("a", { href: `#/dead-letters/${one.sampleId}`, "aria-label": `${t("letters.sample")}: ${name}` }, t("letters.sample"))));
}

function pair(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

function search(view) {
  const { params } = view.route;
  const find = (event) => {
    event.preventDefault();
    view.go({ ...Object.fromEntries(new FormData(event.currentTarget)), after: null });
  };
  const input = (name) => field(t(`letters.filter.${name}`), h("input", { name, value: params[name] ?? "", autocomplete: "off", spellcheck: "false" }));
  const options = [["", t("letters.undelivered")], ...STATES.map((one) => [one, word("letterState", one)])];
  return h("form", { class: "filters", role: "search", onsubmit: find },
    FILTERS.map(input),
    field(t("letters.state"), select({ name: "state" }, options, params.state ?? "")),
    h("button", { type: "submit" }, t("filter")),
    Object.keys(params).length ? link("#/dead-letters", t("filter.clear")) : null);
}

const columns = () => [
  { title: t("letters.id"), number: true, cell: (row) => link(`#/dead-letters/${row.id}`, row.id) },
  { title: t("letters.state"), cell: (row) => letterState(row.state) },
  { title: t("letters.consumer"), cell: (row) => [code(row.consumer), " ← ", code(row.topic)] },
  { title: t("letters.key"), cell: (row) => (row.waitingKey?.startsWith("ORD") ? orderLink(row.waitingKey) : row.waitingKey ? code(row.waitingKey) : "–") },
  { title: t("letters.reason"), wide: true, cell: (row) => row.reason },
  { title: t("letters.attempts"), number: true, cell: (row) => count(row.attempts) },
  { title: t("letters.since"), number: true, cell: (row) => time(row.createdAt) },
];

/** With an id in the address that letter, without one the groups and the list. */
export const deadLetters = {
  title: "dead-letters.title",
  everyMs: 3_000,
  load: (route, view) => (route.id ? letter : list).load(route, view),
  render: (view) => (view.route.id ? letter : list).render(view),
};
