// The frame around every page: who looks, where they are, and which page is shown.

import * as api from "./api.js";
import { h, morph } from "./dom.js";
import { t } from "./i18n.js";
import * as live from "./live.js";
import { PAGES } from "./pages.js";
import { showPage } from "./page.js";
import { dismiss } from "./parts/dialog.js";
import { frame } from "./parts/frame.js";
import { signIn } from "./pages/sign-in.js";
import * as session from "./session.js";
import "./theme.js";

const app = document.getElementById("app");
let leave = null;
let expiry = null;
let main = null;

/** `#/orders/ORD1?status=PAID`: the page's name, what it is about, and its parameters. */
function readRoute() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decoded);
  return { name: name || "overview", id: rest.join("/") || null, params: Object.fromEntries(new URLSearchParams(query)) };
}

/** Somebody may have written anything into the address. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show() {
  leavePage();
  const who = session.current();
  if (!who) return showSignIn(null);
  if (who.expiresAt <= new Date()) return signOut("expired");
  watchExpiry(who);
  live.start();
  const route = readRoute();
  const page = Object.hasOwn(PAGES, route.name) ? PAGES[route.name] : PAGES.overview;
  drawFrame(route);
  document.title = `${t(page.title)} · order-ledger`;
  leave = showPage(main, page, route);
}

/** A dialog of it asks for nothing any more. */
function leavePage() {
  leave?.();
  leave = null;
  dismiss();
}

function drawFrame(route = readRoute()) {
  main ??= h("main", { id: "main", tabindex: "-1", "data-keep": true });
  morph(app, ...frame({ route, main, onSignOut: () => signOut(null), onChange: redraw }));
  main = document.getElementById("main");
}

/** After the language was changed everything is said anew. */
function redraw() {
  main?.replaceChildren();
  show();
}

function showSignIn(reason) {
  live.end();
  main = null;
  document.title = `${t("signIn.title")} · order-ledger`;
  app.replaceChildren(...signIn({ reason, onSignedIn: show, onChange: () => showSignIn(reason) }));
  app.querySelector("textarea")?.focus();
}

function signOut(reason) {
  leavePage();
  session.forget();
  showSignIn(reason);
}

function watchExpiry(who) {
  clearTimeout(expiry);
  // setTimeout counts in 32 bits.
  const inMs = Math.min(who.expiresAt - new Date(), 2 ** 31 - 1);
  expiry = setTimeout(() => (session.current()?.expiresAt <= new Date() ? signOut("expired") : show()), inMs);
}

api.whenSignedOut((code) => signOut(code === "token_expired" ? "expired" : "refused"));
window.addEventListener("hashchange", () => {
  show();
  document.getElementById("page-title")?.focus();
});
live.listen(() => main && session.current() && drawFrame());
show();
