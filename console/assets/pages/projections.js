// Projections: how far each is, and building one anew beside the live one.

import * as api from "../api.js";
import { h } from "../dom.js";
import { compact, count, isKnown, perSecond, seconds } from "../format.js";
import { t } from "../i18n.js";
import { ask } from "../parts/dialog.js";
import { badge, code, empty, facts, figure, figures, heading, notice, operate, progress, time } from "../parts/ui.js";

const RUNNING = ["running", "verifying"];

export const projections = {
  title: "projections.title",
  everyMs: 1_000,
  load: () => api.get("/v1/admin/projections"),
  render(view) {
    const { items } = view.data;
    return [
      heading(t("projections.title"), t("projections.lead")),
      items.length ? h("div", { class: "cards" }, items.map((one) => projection(view, one))) : empty(t("projections.none")),
    ];
  },
};

function projection(view, one) {
  const isBusy = RUNNING.includes(one.rebuild?.state);
  return h("section", { class: "card", "data-key": one.name, "aria-label": one.name },
    h("div", { class: "section-head" }, h("h2", {}, one.name), state(one)),
    figures(
      figure(t("projections.behind"), count(one.lagEvents), { note: t("projections.events"), tone: one.lagEvents > 10_000 ? "warn" : null }),
      figure(t("projections.age"), one.lagEvents === 0 ? t("projections.current") : seconds(one.lagSeconds))),
    facts([
      [t("position"), t("projections.of", { position: count(one.position), head: count(one.head) })],
      [t("projections.active"), `v${one.activeVersion}`],
      [t("projections.code"), `v${one.codeVersion}`],
      [t("projections.previous"), isKnown(one.previousVersion) ? `v${one.previousVersion}` : null],
    ]),
    one.rebuildDue ? notice("info", h("p", {}, t("projections.due"))) : null,
    one.rebuild ? rebuild(one) : null,
    h("div", { class: "actions" },
      isBusy ? null : operate(t("projections.rebuild"), () => start(view, one, false), { tone: "primary", name: `${t("projections.rebuild")}: ${one.name}` }),
      isBusy ? null : operate(t("projections.compare"), () => start(view, one, true), { name: `${t("projections.compare")}: ${one.name}` }),
      isKnown(one.previousVersion) && !isBusy ? operate(t("projections.rollback"), () => rollBack(view, one), { tone: "danger", name: `${t("projections.rollback")}: ${one.name}` }) : null));
}

function state(one) {
  if (RUNNING.includes(one.rebuild?.state)) return badge("info", t(`rebuild.${one.rebuild.state}`));
  if (one.lagEvents === 0) return badge("ok", t("projections.current"));
  return badge(one.lagSeconds > 10 ? "warn" : "ok", t("projections.following"));
}

function rebuild({ name, rebuild }) {
  const { state, dryRun, position, target, eventsPerSecond, etaSeconds, startedAt, endedAt, unchanged, differences, examples, problem, version } = rebuild;
  const title = `${t(dryRun ? "rebuild.ofDryRun" : "rebuild.of")} v${version}`;
  if (RUNNING.includes(state)) {
    const ratio = target > 0 ? position / target : 1;
    return h("div", { class: "job", "data-key": "job" },
      h("p", {}, h("strong", {}, title), " ", badge("info", t(`rebuild.${state}`))),
      progress(ratio, `${title}: ${name}`),
      h("p", { class: "note job-figures" },
        h("span", {}, t("projections.of", { position: count(position), head: count(target) })),
        h("span", {}, isKnown(eventsPerSecond) ? t("rebuild.rate", { rate: perSecond(eventsPerSecond) }) : ""),
        h("span", {}, isKnown(etaSeconds) ? t("rebuild.eta", { time: seconds(etaSeconds) }) : "")));
  }
  const tone = state === "failed" ? "bad" : differences > 0 ? "warn" : "ok";
  const result = state === "failed" ? problem
    : unchanged === true ? t("rebuild.unchanged")
    : isKnown(differences) ? t("rebuild.differences", { n: differences }) : null;
  return h("div", { class: "job", "data-key": "job" },
    h("p", {}, h("strong", {}, title), " ", badge(tone, t(`rebuild.${state}`)), " ", h("span", { class: "note" }, time(endedAt ?? startedAt), " · ", compact(target), " ", t("projections.events"))),
    result ? h("p", { class: state === "failed" ? "error" : "" }, result) : null,
    examples?.length ? h("details", {}, h("summary", {}, t("rebuild.examples")), h("ul", { class: "log" }, examples.map((row) => h("li", {}, code(row))))) : null);
}

async function start(view, { name }, dryRun) {
  const kind = dryRun ? "compare" : "rebuild";
  const answer = await ask({ title: t(`projections.${kind}.title`, { name }), text: t(`projections.${kind}.text`), confirm: t(`projections.${kind}`) });
  if (answer) await view.act(() => api.send("POST", `/v1/admin/projections/${name}/rebuild`, { body: { dryRun } }), t("projections.started", { name }));
}

async function rollBack(view, { name, previousVersion }) {
  const answer = await ask({
    title: t("projections.rollback.title", { name }), text: t("projections.rollback.text", { version: previousVersion }),
    typed: name, confirm: t("projections.rollback"), tone: "danger",
  });
  if (answer) await view.act(() => api.send("POST", `/v1/admin/projections/${name}/rollback`), t("projections.rolledBack", { name, version: previousVersion }));
}
