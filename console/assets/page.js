// Runs a page: loads its data, draws it, draws it again when there is news, and ends all that when it is left.

import { morph, h } from "./dom.js";
import { t } from "./i18n.js";
import * as live from "./live.js";
import { tell } from "./parts/dialog.js";
import { heading, problem } from "./parts/ui.js";

/**
 * A page is `{title, load(route), render(view), everyMs?, isLive?, begin?(view)}`. `render` gets the view:
 * `{route, data, state, reload(), draw(), act(work, said), go(params)}`; `state` is the page's own.
 */
export function showPage(main, page, route) {
  const view = { route, data: null, error: null, state: {}, isLeft: false };
  let asked = 0;
  let drawn = 0;
  let underWay = 0;

  view.draw = () => {
    if (view.isLeft) return;
    if (!view.data && view.error) morph(main, heading(t(page.title)), problem(view.error, view.reload));
    else if (!view.data) morph(main, heading(t(page.title)), skeleton());
    else morph(main, ...page.render(view).flat(Infinity).filter(Boolean), stale(view.error));
  };

  view.reload = async () => {
    const turn = ++asked;
    // An answer that was overtaken by a later one is old.
    const isOld = () => turn < drawn || view.isLeft;
    underWay += 1;
    try {
      const data = await page.load(view.route, view);
      if (isOld()) return;
      view.data = data;
      view.error = null;
    } catch (error) {
      if (isOld()) return;
      if (error.code === undefined) throw error;
      view.error = error;
    } finally {
      underWay -= 1;
    }
    drawn = turn;
    view.draw();
  };

  /** Does something that may be refused, says so, and shows what has become of it. */
  view.act = async (work, said) => {
    try {
      const done = await work();
      if (said) tell("ok", typeof said === "function" ? said(done) : said);
      return done;
    } catch (error) {
      if (error.code === undefined) throw error;
      tell("bad", error.message || t("problem.unreachable"));
      return null;
    } finally {
      await view.reload();
    }
  };

  /** The same page with other parameters; null takes one away. */
  view.go = (params) => {
    const merged = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...route.params, ...params })) if (value) merged.set(name, value);
    const path = [route.name, route.id].filter(Boolean).map(encodeURIComponent).join("/");
    location.hash = `#/${path}${merged.size ? `?${merged}` : ""}`;
  };

  view.draw();
  view.reload();
  const end = page.begin?.(view);
  // A server that takes longer than that is not asked again meanwhile.
  const tick = () => document.hidden || underWay > 0 || view.reload();
  const timer = page.everyMs ? setInterval(tick, page.everyMs) : null;
  const unlisten = page.isLive ? live.listen(view.draw) : () => {};
  return () => {
    view.isLeft = true;
    clearInterval(timer);
    unlisten();
    end?.();
  };
}

/** Of an address's parameters those that a page knows: what else somebody wrote there is nobody's. */
export function known(params, names) {
  return Object.fromEntries(names.filter((name) => params[name]).map((name) => [name, params[name]]));
}

function skeleton() {
  return h("div", { class: "skeleton", role: "status", "aria-label": t("loading") },
    h("span", {}), h("span", {}), h("span", {}));
}

/** What is shown is older than it looks. */
function stale(error) {
  return error ? h("div", { class: "stale", role: "status" }, t("stale"), error.message ? ` ${error.message}` : "") : null;
}
