// A token is pasted, tried, and kept for this tab.

import * as api from "../api.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { settings } from "../parts/frame.js";
import { code, notice } from "../parts/ui.js";
import * as session from "../session.js";

export function signIn({ reason, onSignedIn, onChange }) {
  const token = h("textarea", { id: "token", name: "token", rows: 4, required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "token-help sign-in-error" });
  const error = h("p", { id: "sign-in-error", class: "error", role: "alert" });
  const form = h("form", { novalidate: true, onsubmit: (event) => enter(event, token, error, onSignedIn) },
    h("label", { for: "token" }, t("signIn.token")),
    token,
    error,
    h("button", { type: "submit", class: "primary" }, t("signIn.go")),
    h("div", { id: "token-help", class: "help" },
      h("p", {}, t("signIn.help")),
      h("p", {}, code("order-ledger token --user 1 --role operator")),
      h("p", { class: "note" }, t("signIn.kept"))));
  return [
    h("header", { class: "top bare" }, h("div", { class: "settings" }, settings(onChange))),
    h("main", { id: "main", class: "sign-in" },
      h("div", { class: "card" },
        h("h1", {}, h("img", { src: "/console/icon.svg", alt: "", width: 32, height: 32 }), t("signIn.title")),
        reason ? notice("warn", h("p", {}, t(`signIn.${reason}`))) : null,
        form)),
  ];
}

async function enter(event, input, error, onSignedIn) {
  event.preventDefault();
  error.textContent = "";
  const text = input.value.trim().replace(/^bearer\s+/i, "");
  const who = session.read(text);
  if (!who) return refuse(input, error, t("signIn.notAToken"));
  if (!session.isStaff(who)) return refuse(input, error, t("signIn.noRole"));
  session.keep(text);
  try {
    await api.get("/v1/admin/projections");
    onSignedIn();
  } catch (problem) {
    session.forget();
    const texts = { 0: "problem.unreachable", 401: problem.code === "token_expired" ? "signIn.expired" : "signIn.refused", 403: "signIn.noRole" };
    // A 401 has drawn this page anew.
    refuse(document.getElementById("token") ?? input, document.getElementById("sign-in-error") ?? error, t(texts[problem.status] ?? "problem.unavailable"));
  }
}

function refuse(input, error, text) {
  error.textContent = text;
  input.setAttribute("aria-invalid", "true");
  input.focus();
}
