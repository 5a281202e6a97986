// /docs: the REST interface, read from /openapi.json.

import { h, morph } from "./dom.js";
import { t } from "./i18n.js";
import { settings } from "./parts/frame.js";
import { badge, code, empty, field, link, problem } from "./parts/ui.js";
import "./theme.js";

const METHODS = ["get", "post", "put", "delete"];
const app = document.getElementById("app");
let description = null;
let asked = "";

async function load() {
  try {
    const response = await fetch("/openapi.json");
    description = await response.json();
    draw();
  } catch (error) {
    app.replaceChildren(h("main", {}, problem({ status: 0, message: error.message }, load)));
  }
}

function draw() {
  document.title = `${t("docs.title")} · order-ledger`;
  const search = (event) => {
    asked = event.target.value.trim().toLowerCase();
    draw();
  };
  const groups = (description.tags ?? []).map((tag) => [tag, operations().filter((one) => one.tag === tag.name && matches(one))]).filter(([, found]) => found.length);
  morph(app,
    h("a", { class: "skip", href: "#main" }, t("skip")),
    h("header", { class: "top" },
      h("a", { class: "brand", href: "/docs" }, h("img", { src: "/console/icon.svg", alt: "", width: 24, height: 24 }), "order-ledger"),
      h("div", { class: "settings" }, settings(draw), link("/console", t("docs.console")), link("/openapi.json", t("docs.raw")))),
    h("main", { id: "main", class: "docs", tabindex: "-1" },
      h("header", { class: "page-head" }, h("div", {}, h("h1", {}, t("docs.title")), h("p", { class: "lead" }, prose(description.info.description)))),
      h("div", { class: "filters" }, field(t("docs.find"), h("input", { type: "search", oninput: search, autocomplete: "off", spellcheck: "false" }))),
      groups.length ? groups.map(([tag, found]) => group(tag, found)) : empty(t("docs.none")),
      schemas()));
}

function operations() {
  return Object.entries(description.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ ...item[method], path, method, parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])], tag: item[method].tags?.[0] })));
}

function matches({ path, method, summary }) {
  return `${method} ${path} ${summary ?? ""}`.toLowerCase().includes(asked);
}

function group({ name, description: about }, found) {
  return h("section", { class: "card", "data-key": name }, h("h2", {}, name), about && h("p", { class: "lead" }, prose(about)), found.map(operation));
}

function operation(one) {
  const body = one.requestBody?.content?.["application/json"]?.schema;
  return h("details", { class: "operation", "data-key": `${one.method} ${one.path}` },
    h("summary", {}, h("span", { class: `method ${one.method}` }, one.method.toUpperCase()), code(one.path), h("span", { class: "note" }, prose(one.summary ?? ""))),
    h("div", { class: "operation-body" },
      one.description && one.description !== one.summary ? h("p", {}, prose(one.description)) : null,
      one.security?.some((scheme) => Object.keys(scheme).length === 0) || one.security?.length === 0 ? badge("idle", t("docs.noToken")) : null,
      one.parameters.length ? [h("h3", {}, t("docs.parameters")), h("dl", { class: "facts" }, one.parameters.map(parameter))] : null,
      body ? [h("h3", {}, t("docs.body")), h("p", {}, shape(body))] : null,
      h("h3", {}, t("docs.answers")),
      h("dl", { class: "facts" }, Object.entries(one.responses ?? {}).map(answer))));
}

function parameter({ name, in: where, required, description: about, schema }) {
  return h("div", {}, h("dt", {}, code(name), " ", h("span", { class: "note" }, where)),
    h("dd", {}, shape(schema), required ? [" ", badge("info", t("docs.required"))] : null, about ? [" ", prose(about)] : null));
}

function answer([status, response]) {
  const content = Object.values(response.content ?? {})[0]?.schema;
  return h("div", {}, h("dt", {}, code(status)), h("dd", {}, prose(response.description), content ? [" ", shape(content)] : null));
}

/** A shape in a few words; one that has a name links to it. */
function shape(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return h("a", { href: `#schema-${name}` }, name);
  }
  if (schema.type === "array") return ["[", shape(schema.items), "]"];
  const parts = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (parts) return parts.filter((part) => part.type !== "null").flatMap((part, index) => [index ? " | " : "", shape(part)]);
  const kind = [schema.type].flat().filter(Boolean).join(" | ") || "any";
  const bounds = [isSet(schema.minimum) && `≥ ${schema.minimum}`, isSet(schema.maximum) && `≤ ${schema.maximum}`, schema.format].filter(Boolean).join(", ");
  return h("span", { class: "shape" }, bounds ? `${kind} (${bounds})` : kind);
}

/** What stands between backticks is code. */
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? code(part) : part));
}

function isSet(value) {
  return value !== undefined && value !== null;
}

function schemas() {
  const named = Object.entries(description.components?.schemas ?? {});
  return h("section", { class: "card" }, h("h2", {}, t("docs.schemas")), named.map(([name, schema]) =>
    h("div", { class: "schema", id: `schema-${name}`, "data-key": name },
      h("h3", {}, name), schema.description ? h("p", { class: "note" }, prose(schema.description)) : null,
      h("dl", { class: "facts" }, Object.entries(schema.properties ?? {}).map(([property, one]) => member(property, one, schema.required))))));
}

function member(name, schema, required = []) {
  const example = schema.example !== undefined ? ` ${t("docs.example", { value: JSON.stringify(schema.example) })}` : "";
  return h("div", {}, h("dt", {}, code(name), required.includes(name) ? null : h("span", { class: "note" }, " ?")),
    h("dd", {}, shape(schema), schema.description ? [" ", prose(schema.description)] : null, example ? h("span", { class: "note" }, example) : null));
}

load();
