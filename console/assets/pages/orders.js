// Orders: search and pages; with an id in the address, one of them.

import * as api from "../api.js";
import { h } from "../dom.js";
import { money } from "../format.js";
import { t, word } from "../i18n.js";
import { pager, table } from "../parts/table.js";
import { badge, empty, field, heading, orderLink, orderStatus, section, select, time } from "../parts/ui.js";
import { order } from "./order.js";

const STATUSES = ["PENDING", "AWAITING_PAYMENT", "PAYING", "PAID", "CONFIRMED", "REFUNDING", "REFUNDED", "REJECTED", "CANCELLED", "EXPIRED"];
const ROWS = 50;

const list = {
  title: "orders.title",
  everyMs: 5_000,
  load({ params }) {
    const { userId, status, after } = params;
    return api.get("/v1/orders", { userId, status, after, limit: ROWS });
  },
  render(view) {
    const { data, route } = view;
    const isFiltered = route.params.userId || route.params.status;
    return [
      heading(t("orders.title"), t("orders.lead")),
      search(view),
      section(null,
        data.items.length ? table(t("orders.title"), COLUMNS(), data.items, (row) => row.orderId)
          : empty(t("orders.none"), t(isFiltered ? "orders.noneFiltered" : "orders.noneYet")),
        pager({ after: route.params.after, next: data.next }, (after) => view.go({ after }))),
    ];
  },
};

const COLUMNS = () => [
  { title: t("order.id"), cell: (row) => orderLink(row.orderId) },
  { title: t("order.status"), cell: (row) => orderStatus(row.status) },
  { title: t("order.user"), number: true, cell: (row) => row.userId },
  { title: t("order.ticketType"), number: true, cell: (row) => h("a", { href: `#/stock/${row.ticketTypeId}` }, row.ticketTypeId) },
  { title: t("order.quantity"), number: true, cell: (row) => row.quantity },
  { title: t("order.amount"), number: true, cell: (row) => money(row.totalAmount) },
  { title: t("order.mode"), cell: (row) => badge("idle", word("mode", row.mode)) },
  { title: t("order.placed"), number: true, cell: (row) => time(row.orderTime) },
];

function search(view) {
  const { params } = view.route;
  const find = (event) => {
    event.preventDefault();
    const asked = new FormData(event.currentTarget);
    const text = asked.get("text").trim();
    if (/^ORD/i.test(text)) location.hash = `#/orders/${encodeURIComponent(text.toUpperCase())}`;
    else view.go({ userId: text, status: asked.get("status"), after: null });
  };
  const options = [["", t("orders.anyStatus")], ...STATUSES.map((one) => [one, word("status", one)])];
  return h("form", { class: "filters", role: "search", onsubmit: find },
    field(t("orders.find"), h("input", { name: "text", type: "search", value: params.userId ?? "", placeholder: "ORD… / 12345", autocomplete: "off", spellcheck: "false" })),
    field(t("order.status"), select({ name: "status" }, options, params.status ?? "")),
    h("button", { type: "submit", class: "primary" }, t("search")));
}

/** With an id in the address that order, without one the list. */
export const orders = {
  title: "orders.title",
  everyMs: list.everyMs,
  load: (route, view) => pageOf(route).load(route, view),
  render: (view) => pageOf(view.route).render(view),
  begin: (view) => pageOf(view.route).begin?.(view),
};

function pageOf(route) {
  return route.id ? order : list;
}
