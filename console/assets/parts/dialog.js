// Asks before anything is changed for good.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { field, notice } from "./ui.js";

/**
 * Shows a form in a dialog and resolves with its values, or with null where it was called off. `fields`:
 * `[{name, label, hint?, required?, value?, rows?, type?}]`. `typed`: a word that must be typed to go on.
 */
export function ask({ title, text, fields = [], typed, confirm, tone = "primary" }) {
  return new Promise((resolve) => {
    const inputs = fields.map((one) => [one, input(one)]);
    const word = typed && h("input", { name: "typed", autocomplete: "off", spellcheck: "false", required: true });
    const error = h("p", { class: "error", role: "alert" });
    const go = h("button", { type: "submit", class: tone }, confirm);
    const form = h("form", { method: "dialog", novalidate: true },
      h("h2", { id: "dialog-title" }, title),
      typeof text === "string" ? h("p", {}, text) : text,
      inputs.map(([one, element]) => field(one.label, element, one.hint)),
      word && field(t("dialog.type", { word: typed }), word),
      error,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, t("cancel")), go));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    let answer = null;
    form.onsubmit = (event) => {
      event.preventDefault();
      const missing = inputs.find(([one, element]) => one.required && !element.value.trim());
      if (missing) return refuse(error, missing[1], t("dialog.missing", { field: missing[0].label }));
      if (word && word.value.trim() !== typed) return refuse(error, word, t("dialog.type", { word: typed }));
      answer = Object.fromEntries(inputs.map(([one, element]) => [one.name, element.value.trim()]));
      dialog.close();
    };
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** As if it was called off. */
export function dismiss() {
  document.querySelector("dialog")?.close();
}

function input({ name, value = "", rows, required, type = "text", min, max }) {
  const attributes = { name, required, "aria-required": required ? "true" : null };
  if (!rows) return h("input", { ...attributes, type, value, min, max, autocomplete: "off" });
  const area = h("textarea", { ...attributes, rows, spellcheck: "false" });
  area.value = value;
  return area;
}

function refuse(error, element, text) {
  error.textContent = text;
  element.setAttribute("aria-invalid", "true");
  element.focus();
}

/** Says what came of something, for those who see it and those who hear it. */
export function tell(tone, text) {
  const toast = notice(tone, h("p", {}, text));
  const area = document.getElementById("toasts");
  area.append(toast);
  setTimeout(() => toast.remove(), tone === "bad" ? 12_000 : 6_000);
}
