// Ticket types and what is left of them; with an id in the address, one of them and what it was before.

import * as api from "../api.js";
import { h } from "../dom.js";
import { count, money, percent } from "../format.js";
import { t } from "../i18n.js";
import { pager, table } from "../parts/table.js";
import { badge, button, empty, facts, field, figure, figures, heading, link, notice, section, shares } from "../parts/ui.js";

const ROWS = 50;

const list = {
  load({ params }) {
    return api.get("/v1/ticket-types", { showId: params.showId, after: params.after, limit: ROWS });
  },
  render(view) {
    const { data, route } = view;
    const find = (event) => {
      event.preventDefault();
      view.go({ showId: new FormData(event.currentTarget).get("showId").trim(), after: null });
    };
    return [
      heading(t("stock.title"), t("stock.lead")),
      h("form", { class: "filters", role: "search", onsubmit: find },
        field(t("stock.show"), h("input", { name: "showId", type: "search", inputmode: "numeric", value: route.params.showId ?? "", autocomplete: "off" })),
        h("button", { type: "submit", class: "primary" }, t("search"))),
      section(null, legend(),
        data.items.length ? table(t("stock.title"), columns(), data.items, (row) => row.ticketTypeId)
          : empty(t("stock.none"), t(route.params.showId ? "stock.noneOfShow" : "stock.noneYet")),
        pager({ after: route.params.after, next: data.next }, (after) => view.go({ after }))),
    ];
  },
};

const columns = () => [
  { title: t("order.ticketType"), number: true, cell: (row) => link(`#/stock/${row.ticketTypeId}`, row.ticketTypeId) },
  { title: t("stock.name"), cell: (row) => [row.name, row.available === 0 ? [" ", badge("warn", t("stock.soldOut"))] : null] },
  { title: t("stock.show"), number: true, cell: (row) => row.showId },
  { title: t("stock.price"), number: true, cell: (row) => money(row.price) },
  { title: t("stock.shares"), wide: true, cell: bar },
  { title: t("stock.available"), number: true, cell: (row) => count(row.available) },
  { title: t("stock.locked"), number: true, cell: (row) => count(row.locked) },
  { title: t("stock.sold"), number: true, cell: (row) => count(row.sold) },
  { title: t("stock.capacity"), number: true, cell: (row) => count(row.capacity) },
];

function bar(row) {
  const part = (tone) => ({ tone, value: row[tone] });
  const said = t("stock.said", { sold: count(row.sold), locked: count(row.locked), available: count(row.available), capacity: count(row.capacity) });
  return shares([part("sold"), part("locked"), part("available")], said);
}

function legend() {
  return h("p", { class: "legend" }, ["sold", "locked", "available"].map((tone) => h("span", { class: tone }, t(`stock.${tone}`))));
}

const one = {
  async load(route, view) {
    const path = `/v1/ticket-types/${encodeURIComponent(route.id)}/stock`;
    const { at } = view.state;
    const now = await api.get(path);
    if (!at) return { now };
    try {
      return { now, at, then: await api.get(path, { at }) };
    } catch (problem) {
      if (problem.status !== 404 && problem.status !== 422) throw problem;
      return { now, at, then: null, problem };
    }
  },
  render(view) {
    const { now, at, then, problem } = view.data;
    const shown = then ?? now;
    const sold = shown.capacity > 0 ? shown.sold / shown.capacity : 0;
    return [
      heading(shown.name, t("stock.of", { id: now.ticketTypeId, show: now.showId }), link("#/stock", t("stock.all"))),
      travel(view, problem),
      section(at ? t("stock.then", { at }) : t("stock.now"),
        problem ? null : [
          legend(), bar(shown),
          figures(
            figure(t("stock.available"), count(shown.available), { tone: shown.available === 0 ? "warn" : null }),
            figure(t("stock.locked"), count(shown.locked)),
            figure(t("stock.sold"), count(shown.sold), { note: percent(sold) }),
            figure(t("stock.capacity"), count(shown.capacity))),
          facts([[t("stock.price"), money(shown.price)], [t("version"), count(shown.version)], [t("position"), count(shown.position)]]),
        ]),
    ];
  },
};

function travel(view, problem) {
  const { now, at } = view.data;
  const enter = (event) => {
    event.preventDefault();
    const text = new FormData(event.currentTarget).get("at").trim();
    const isTime = text && !/^\d+$/.test(text) && !Number.isNaN(new Date(text).getTime());
    view.state.at = isTime ? new Date(text).toISOString() : text;
    view.reload();
  };
  const back = () => {
    view.state.at = null;
    view.reload();
  };
  return h("section", { class: `card travel ${at ? "is-past" : ""}`, "aria-label": t("travel.title") },
    h("div", { class: "travel-head" }, h("h2", {}, t("travel.title")), at ? button(t("travel.back"), back, { tone: "primary" }) : null),
    h("form", { class: "filters", onsubmit: enter },
      field(t("travel.field"), h("input", { name: "at", value: at ?? "", placeholder: `${now.position} / ${new Date().toISOString()}`, autocomplete: "off", spellcheck: "false" })),
      h("button", { type: "submit" }, t("travel.go"))),
    problem ? notice("warn", h("p", {}, problem.status === 404 ? t("stock.notYet") : problem.message)) : null);
}

/** With an id in the address that ticket type, without one the list. */
export const stock = {
  title: "stock.title",
  everyMs: 2_000,
  load: (route, view) => (route.id ? one : list).load(route, view),
  render: (view) => (view.route.id ? one : list).render(view),
};
