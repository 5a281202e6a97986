// A slider over what happened, and a field for any position or time.

import { h } from "../dom.js";
import { count, dateTime } from "../format.js";
import { t } from "../i18n.js";
import { button, notice } from "./ui.js";

/** `stops`: `[{position, version, at, label}]`, oldest first; `at`: null for now; `choose(at)`. */
export function timeTravel({ stops, at, problem, choose }) {
  if (!stops.length) return null;
  const index = nearest(stops, at);
  const chosen = stops[index];
  const slide = (event) => {
    const next = Number(event.target.value);
    choose(next >= stops.length ? null : String(stops[next].position));
  };
  const enter = (event) => {
    event.preventDefault();
    choose(read(new FormData(event.currentTarget).get("at").trim()));
  };
  const said = at === null || at === undefined ? t("travel.now") : chosen
    ? t("travel.at", { label: chosen.label, version: count(chosen.version), position: count(chosen.position), time: dateTime(chosen.at) })
    : t("travel.before");
  return h("section", { class: `card travel ${at ? "is-past" : ""}`, "aria-label": t("travel.title") },
    h("div", { class: "travel-head" }, h("h2", {}, t("travel.title")), h("output", { "aria-live": "polite" }, said),
      at ? button(t("travel.back"), () => choose(null), { tone: "primary" }) : null),
    h("input", { type: "range", min: 0, max: stops.length, step: 1, value: at ? Math.max(0, index) : stops.length, "aria-label": t("travel.slider"), "aria-valuetext": said, onchange: slide }),
    h("form", { class: "filters", onsubmit: enter },
      h("label", { class: "field" }, h("span", {}, t("travel.field")),
        h("input", { name: "at", value: at ?? "", placeholder: `${stops.at(-1).position} / ${new Date(stops.at(-1).at).toISOString()}`, autocomplete: "off", spellcheck: "false" })),
      h("button", { type: "submit" }, t("travel.go"))),
    problem ? notice("warn", h("p", {}, problem.message)) : null);
}

/** A position is digits; a time may be written as this machine's. */
function read(text) {
  if (!text) return null;
  if (/^\d+$/.test(text)) return text;
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toISOString();
}

/** The last stop that had happened by then; -1 before the first. */
function nearest(stops, at) {
  return at ? stops.findLastIndex((stop) => hadHappened(stop, at)) : stops.length - 1;
}

/** Whether `{position, at}` had happened by a position or a time. */
export function hadHappened(event, until) {
  return /^\d+$/.test(until) ? event.position <= Number(until) : new Date(event.at) <= new Date(until);
}
