// Tables. On a narrow screen each row becomes a card, so the roles are said, which CSS would take away.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { button } from "./ui.js";

/**
 * `columns`: `{title, cell(row), number?, wide?}`; `key(row)` says which rows are the same in an update.
 */
export function table(caption, columns, rows, key = (row) => row.id) {
  const head = columns.map(({ title, number }) => h("th", { scope: "col", role: "columnheader", class: number ? "number" : "" }, title));
  const line = (row) => h("tr", { role: "row", "data-key": String(key(row)) }, columns.map((column) => cell(column, row)));
  return h("div", { class: "table-frame" },
    h("table", { role: "table" },
      h("caption", { class: "sr-only" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      h("tbody", { role: "rowgroup" }, rows.map(line))));
}

function cell({ title, cell, number, wide }, row) {
  const classes = [number && "number", wide && "wide"].filter(Boolean).join(" ");
  return h("td", { role: "cell", class: classes, "data-label": title }, h("div", { class: "cell" }, cell(row)));
}

/** Forward through keyset pages, and back to the first. */
export function pager({ after, next }, go) {
  if (!after && !next) return null;
  return h("nav", { class: "pager", "aria-label": t("pages") },
    after ? button(t("pages.first"), () => go(null)) : null,
    next ? button(t("pages.next"), () => go(next)) : h("span", { class: "note" }, t("pages.end")));
}
