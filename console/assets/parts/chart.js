// Charts come drawn from the server, as SVG whose colours are the style sheet's.

import * as api from "../api.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { problem } from "./ui.js";

const REFRESH_MS = 30_000;
/** In the order of the colours. */
const SERIES = {
  throughput: ["orders", "events", "sent"],
  lag: ["outbox", "broker", "models"],
  "outbox-age": ["age"],
  "critical-time": ["p99"],
};
const WIDTHS_PX = { min: 280, max: 1_200 };

/** A chart that draws itself when it is shown, when its width changes, and twice a minute. */
export function chart(name, minutes) {
  const picture = h("div", { class: "chart-picture" });
  const element = h("figure", { class: "chart", "data-keep": true, "data-key": `chart-${name}-${minutes}` },
    h("figcaption", {}, t(`chart.${name}`)), legend(name), picture);
  let drawnWidth = 0;
  const draw = async () => {
    const width = Math.round(Math.min(WIDTHS_PX.max, Math.max(WIDTHS_PX.min, picture.clientWidth)));
    drawnWidth = width;
    try {
      const text = await api.getText(`/v1/admin/charts/${name}.svg`, { minutes, width, utcOffsetMinutes: -new Date().getTimezoneOffset() });
      const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
      if (svg.nodeName !== "svg") return;
      describe(svg, name);
      picture.replaceChildren(document.importNode(svg, true));
    } catch (error) {
      if (!picture.firstChild) picture.replaceChildren(problem(error, draw));
    }
  };
  const timer = setInterval(() => (element.isConnected ? draw() : end()), REFRESH_MS);
  const watcher = new ResizeObserver(() => {
    if (!element.isConnected) return end();
    if (Math.abs(picture.clientWidth - drawnWidth) > 8) draw();
  });
  const end = () => {
    clearInterval(timer);
    watcher.disconnect();
  };
  watcher.observe(picture);
  return element;
}

/** In the language of who looks, and in place of the English that the SVG has by itself. */
function describe(svg, name) {
  const said = SERIES[name].map((series, index) => {
    const [last, highest] = svg.dataset.figures.split(";")[index].split("/");
    return last ? t("chart.said", { name: t(`chart.series.${series}`), last, highest }) : t("chart.unknown", { name: t(`chart.series.${series}`) });
  });
  svg.setAttribute("aria-label", `${t(`chart.${name}`)}. ${said.join("; ")}`);
  for (const english of [...svg.querySelectorAll("title, desc")]) english.remove();
}

function legend(name) {
  const key = (series, index) => h("span", { class: `series-${index + 1}` }, t(`chart.series.${series}`));
  return h("p", { class: "legend" }, SERIES[name].map(key));
}
