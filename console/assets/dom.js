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
  const nodes = wanted.flat(Infinity).filter(isShown).map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
  const keyed = keepWanted(parent, new Set(nodes.map(keyOf)));
  let at = parent.firstChild;
  for (const next of nodes) {
    const key = keyOf(next);
    const known = key ? keyed.get(key) : at;
    // A key that comes twice is a second node.
    keyed.delete(key);
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

/** What leaves goes first: whatever comes after it then stays where it is, and a node that is moved loses the focus. */
function keepWanted(parent, wantedKeys) {
  const keyed = new Map();
  for (const child of [...parent.children]) {
    const key = keyOf(child);
    if (key && !wantedKeys.has(key)) child.remove();
    else if (key && !keyed.has(key)) keyed.set(key, child);
  }
  return keyed;
}

function keyOf(node) {
  return node.dataset?.key ?? "";
}

function isSame(known, next) {
  return known.nodeName === next.nodeName && keyOf(known) === keyOf(next);
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
