// The rollout: who goes through the broker, how that is followed, and what it is worth.

import * as api from "../api.js";
import { h } from "../dom.js";
import { count, dateTime } from "../format.js";
import { t, word } from "../i18n.js";
import { ask } from "../parts/dialog.js";
import { badge, code, empty, facts, field, heading, link, notice, operate, section, select, time } from "../parts/ui.js";
import * as session from "../session.js";
import { report } from "./rollout/report.js";

const ACTIONS = 8;

export const rollout = {
  title: "rollout.title",
  everyMs: 3_000,
  async load() {
    const [policy, status, compared, changes] = await Promise.all([
      api.getTagged("/v1/admin/rollout"), api.get("/v1/admin/rollout/status"), api.get("/v1/admin/rollout/report"),
      api.get("/v1/admin/audit", { subject: "rollout", limit: ACTIONS }).catch(() => ({ items: [] })),
    ]);
    return { policy: policy.body, etag: policy.etag, status, compared, changes: changes.items };
  },
  render(view) {
    const { policy, status, compared, changes } = view.data;
    return [
      heading(t("rollout.title"), t("rollout.lead")),
      status.isFallingBack ? notice("warn", h("p", {}, h("strong", {}, t("rollout.fallingBack")), " ", word("fallback", status.fallbackReason))) : null,
      h("div", { class: "columns" }, section(t("rollout.now"), now(policy, status)), section(t("rollout.change"), form(view))),
      section(t("report.title"), report(compared)),
      section(t("rollout.history"), history(changes)),
    ];
  },
};

function now(policy, status) {
  const groups = Object.entries(policy.groups ?? {});
  return [
    h("p", {}, policy.mode === "sync" ? t("rollout.allSync") : t("rollout.percent", { percent: policy.asyncPercent, rest: 100 - policy.asyncPercent })),
    h("p", {}, t(policy.fallback === "sync" ? "rollout.fallbackSync" : "rollout.fallbackNone")),
    facts([
      [t("rollout.groups"), groups.length ? groups.map(([name, mode]) => [code(name), " → ", word("mode", mode), " "]) : t("rollout.noGroups")],
      [t("rollout.path"), badge(status.isFallingBack ? "warn" : "ok", t(status.isFallingBack ? "rollout.around" : "rollout.through"))],
      [t("version"), status.inForceVersion === status.version ? count(status.version) : t("rollout.behind", { version: count(status.version), inForce: count(status.inForceVersion) })],
      [t("rollout.changed"), [time(status.changedAt), " · ", status.changedBy]],
    ]),
  ];
}

/** Kept while it is being filled in; drawn anew when somebody changed the policy. */
function form(view) {
  const { policy, etag } = view.data;
  const groups = Object.entries(policy.groups ?? {}).map(([name, mode]) => `${name}=${mode}`).join("\n");
  const modes = ["async", "sync"].map((one) => [one, word("mode", one)]);
  const area = h("textarea", { name: "groups", rows: 3, spellcheck: "false", placeholder: "beta=async" });
  area.value = groups;
  return h("form", { class: "stack", "data-keep": true, "data-key": `policy-${etag}`, onsubmit: (event) => change(event, view) },
    field(t("rollout.mode"), select({ name: "mode" }, modes, policy.mode)),
    field(t("rollout.asyncPercent"), h("input", { name: "asyncPercent", type: "number", min: 0, max: 100, required: true, value: policy.asyncPercent }), t("rollout.percentHint")),
    field(t("rollout.groups"), area, t("rollout.groupsHint")),
    field(t("rollout.fallback"), select({ name: "fallback" }, ["sync", "none"].map((one) => [one, t(`rollout.fallback.${one}`)]), policy.fallback)),
    h("div", { class: "actions" }, operate(t("rollout.review"), (event) => event.currentTarget.form.requestSubmit(), { tone: "primary" })));
}

async function change(event, view) {
  event.preventDefault();
  // Enter in a field comes here as well.
  if (!session.mayOperate()) return;
  const { policy, etag } = view.data;
  const filled = Object.fromEntries(new FormData(event.currentTarget));
  const wanted = { mode: filled.mode, asyncPercent: Number(filled.asyncPercent), groups: readGroups(filled.groups), fallback: filled.fallback };
  const line = (name, before, after) => h("li", {}, `${name}: `, code(before), " → ", code(after), before === after ? h("span", { class: "note" }, ` ${t("rollout.same")}`) : null);
  const text = h("ul", {},
    line(t("rollout.mode"), word("mode", policy.mode), word("mode", wanted.mode)),
    line(t("rollout.asyncPercent"), String(policy.asyncPercent), String(wanted.asyncPercent)),
    line(t("rollout.groups"), JSON.stringify(policy.groups), JSON.stringify(wanted.groups)),
    line(t("rollout.fallback"), word("rollout.fallback", policy.fallback), word("rollout.fallback", wanted.fallback)));
  const answer = await ask({ title: t("rollout.confirm.title"), text: [h("p", {}, t("rollout.confirm.text")), text], confirm: t("rollout.confirm") });
  if (answer) await view.act(() => api.send("PUT", "/v1/admin/rollout", { body: wanted, headers: { "if-match": etag } }), t("rollout.saved"));
}

/** `name=mode` a line. What is wrong with it the server says. */
function readGroups(text) {
  const pairs = text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => line.split("=").map((part) => part.trim()));
  return Object.fromEntries(pairs.map(([name, mode]) => [name, mode ?? ""]));
}

function history(changes) {
  if (!changes.length) return empty(t("rollout.noHistory"));
  return [
    h("ul", { class: "log" }, changes.map((one) => h("li", { "data-key": one.actionId }, time(one.recordedAt), " ", badge("idle", word("action", one.action)), " ", one.actor, " ", h("code", { title: dateTime(one.recordedAt) }, JSON.stringify(one.detail))))),
    h("p", {}, link("#/audit?subject=rollout", t("rollout.allHistory"))),
  ];
}
