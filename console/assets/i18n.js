// Chinese and English. A text is found by its key; `a|b` in English is one and many.

import { en } from "./i18n/en.js";
import { zh } from "./i18n/zh.js";

const KEY = "order-ledger.language";
const TEXTS = { en, zh };

let chosen = localStorage.getItem(KEY) ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!TEXTS[chosen]) chosen = "en";
document.documentElement.lang = tag();

function tag() {
  return chosen === "zh" ? "zh-CN" : "en";
}

/** For Intl: the language's tag. */
export function language() {
  return tag();
}

export function isChinese() {
  return chosen === "zh";
}

export function choose(language) {
  chosen = TEXTS[language] ? language : "en";
  localStorage.setItem(KEY, chosen);
  document.documentElement.lang = tag();
}

/** The text of a key, with `{name}` replaced. */
export function t(key, values = {}) {
  const text = TEXTS[chosen][key] ?? TEXTS.en[key] ?? key;
  const [one, many] = text.split("|");
  const picked = many !== undefined && Number(values.n) !== 1 ? many : one;
  return picked.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** The text of a key that may not be there: a status or a cause that this console does not know is shown as it is. */
export function word(prefix, name) {
  return TEXTS[chosen][`${prefix}.${name}`] ?? TEXTS.en[`${prefix}.${name}`] ?? String(name);
}
