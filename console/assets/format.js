// How figures, times and money are written. What is not known is said so, and never 0.

import { language, t } from "./i18n.js";

export function isKnown(value) {
  return value !== null && value !== undefined && !Number.isNaN(value);
}

export function count(value) {
  return isKnown(value) ? new Intl.NumberFormat(language()).format(Math.round(value)) : t("unknown");
}

/** 500+ where no more were counted. */
export function atLeast(value, hasMore) {
  return `${count(value)}${hasMore ? "+" : ""}`;
}

/** 1,234 as it is; 12.3K where there is little room. */
export function compact(value) {
  if (!isKnown(value)) return t("unknown");
  if (Math.abs(value) < 10_000) return count(value);
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function perSecond(value) {
  if (!isKnown(value)) return t("unknown");
  const digits = value > 0 && value < 10 ? 1 : 0;
  const number = new Intl.NumberFormat(language(), { maximumFractionDigits: digits, minimumFractionDigits: digits });
  return t("perSecond", { n: value < 10_000 ? number.format(value) : compact(value) });
}

export function milliseconds(value) {
  if (!isKnown(value)) return t("unknown");
  if (value >= 1_000) return seconds(value / 1_000);
  const digits = value < 10 ? 1 : 0;
  return t("milliseconds", { n: new Intl.NumberFormat(language(), { maximumFractionDigits: digits }).format(value) });
}

/** 0.3 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function seconds(value) {
  if (!isKnown(value)) return t("unknown");
  if (value < 10) return t("seconds", { n: value === 0 ? "0" : value.toFixed(1) });
  const whole = Math.round(value);
  if (whole < 60) return t("seconds", { n: whole });
  if (whole < 3_600) return `${t("minutes", { n: Math.floor(whole / 60) })} ${t("seconds", { n: whole % 60 })}`;
  const minutes = Math.round(whole / 60);
  if (minutes < 1_440) return `${t("hours", { n: Math.floor(minutes / 60) })} ${t("minutes", { n: minutes % 60 })}`;
  const hours = Math.round(minutes / 60);
  return `${t("days", { n: Math.floor(hours / 24) })} ${t("hours", { n: hours % 24 })}`;
}

/** Since a time, by this machine's clock. */
export function ageSeconds(time) {
  return Math.max(0, (Date.now() - new Date(time)) / 1000);
}

/** 42%, 2.1%, 0.01%. */
export function percent(ratio) {
  if (!isKnown(ratio)) return t("unknown");
  const options = { style: "percent", maximumFractionDigits: ratio >= 0.1 ? 0 : ratio >= 0.01 ? 1 : 2 };
  return new Intl.NumberFormat(language(), options).format(ratio);
}

/** The ledger's amounts have two decimals; it does not say in which currency. */
export function money(value) {
  if (!isKnown(value)) return t("unknown");
  return new Intl.NumberFormat(language(), { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(value);
}

export function dateTime(value) {
  if (!isKnown(value)) return t("never");
  const options = { dateStyle: "medium", timeStyle: "medium" };
  return new Intl.DateTimeFormat(language(), options).format(new Date(value));
}

/** The time, with the day where it is not today. */
export function clock(value) {
  if (!isKnown(value)) return t("never");
  const at = new Date(value);
  const isToday = at.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { month: "short", day: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(language(), { ...day, ...time }).format(at);
}
