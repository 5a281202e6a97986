// What is made of the newest measurement, or why there is none.

import { h } from "../dom.js";
import { clock } from "../format.js";
import { t } from "../i18n.js";
import * as live from "../live.js";
import { notice } from "./ui.js";

/** `draw(now)`; figures of before an outage are not shown as if they were of now. */
export function measured(draw) {
  const now = live.newest();
  if (now) return draw(now);
  const outage = live.unmeasured();
  if (!outage) return h("div", { class: "skeleton", role: "status", "aria-label": t("loading") }, h("span", {}), h("span", {}));
  return notice("warn", h("p", {}, h("strong", {}, unmeasuredSince(outage)), " ", t("unmeasured.text")));
}

export function unmeasuredSince({ since }) {
  return since ? t("unmeasured.since", { time: clock(since) }) : t("unmeasured.never");
}
