// Redriving many: what would be sent is counted and shown first, then it is confirmed, then it is watched.

import * as api from "../../api.js";
import { h } from "../../dom.js";
import { count } from "../../format.js";
import { t } from "../../i18n.js";
import { ask, tell } from "../../parts/dialog.js";
import { code } from "../../parts/ui.js";

const DEFAULT_RATE = 50;

/** Shows the dry run, and on confirmation starts the redrive and goes to watch it. */
export async function redriveAll(view, filter) {
  const dry = await view.act(() => api.send("POST", "/v1/admin/redrives", { body: { filter, dryRun: true } }));
  if (!dry) return;
  if (dry.messages === 0) return tell("info", t("redrive.nothing"));
  const fields = [{ name: "ratePerSecond", label: t("redrive.rate"), hint: t("redrive.rateHint"), type: "number", min: 1, max: 10_000, value: DEFAULT_RATE, required: true }];
  const answer = await ask({ title: t("redrive.title"), text: preview(dry), fields, confirm: t("redrive.confirm", { n: count(dry.messages) }) });
  if (!answer) return;
  const body = { filter, ratePerSecond: Number(answer.ratePerSecond) };
  const started = await view.act(() => api.send("POST", "/v1/admin/redrives", { body }), t("redrive.started"));
  if (started) location.hash = `#/redrives/${started.redriveId}`;
}

function preview({ messages, keys, groups }) {
  return h("div", { class: "preview" },
    h("p", {}, h("strong", {}, t("redrive.dry", { messages: count(messages), keys: count(keys) }))),
    h("ul", {}, groups.map((one) => h("li", {}, count(one.messages), " × ", code(one.consumer), " ← ", code(one.topic), " · ", one.cause))),
    h("p", { class: "note" }, t("redrive.order")));
}
