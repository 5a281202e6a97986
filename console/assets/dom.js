// Makes elements and keeps them up to date. Data only ever becomes text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onchange", "oninput", "onsubmit", "onkeydown"];

/** An HTML element. `on…` attributes are handlers, `true` is an empty attribute, null and false are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter(isShown));
  return element;
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

/**
 * Makes the children of `parent` look like `wanted` and keeps the nodes that are there, so that focus, selection and
 * scrolling survive an update. Children with the same `data-key` are the same; `data-keep` guards what is inside.
 */
export function morph(parent, ...wanted) {
  const keyed = new Map();
  for (const child of parent.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = parent.firstChild;
  for (const child of wanted.flat(Infinity).filter(isShown)) {
    const next = child instanceof Node ? child : document.createTextNode(String(child));
    const known = next.dataset?.key ? keyed.get(next.dataset.key) : at;
    if (known && isSame(known, next)) {
      if (known === at) at = at.nextSibling;
      else parent.insertBefore(known, at);
      update(known, next);
    } else {
      parent.insertBefore(next, at);
    }
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

function isSame(known, next) {
  return known.nodeName === next.nodeName && (known.dataset?.key ?? "") === (next.dataset?.key ?? "");
}

function update(known, next) {
  if (known === next) return;
  if (known.nodeType === Node.TEXT_NODE) {
    if (known.data !== next.data) known.data = next.data;
    return;
  }
  for (const handler of HANDLERS) if (known[handler] !== next[handler]) known[handler] = next[handler];
  if (known.dataset?.keep !== undefined) return;
  for (const { name } of [...known.attributes]) {
    // Whether it is open is up to who looks at it.
    if (name !== "open" && !next.hasAttribute(name)) known.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (name === "open" || known.getAttribute(name) === value) continue;
    known.setAttribute(name, value);
    // What was typed is shown instead of the attribute, unless it is said that it is over.
    if (name === "value" && known.nodeName === "INPUT") known.value = value;
  }
  morph(known, ...next.childNodes);
}
