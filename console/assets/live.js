// What the server measures every second, shared by all pages: the newest measurement and the last two minutes.

import { follow } from "./events.js";

const KEPT = 120;
/** Longer than the server takes for a measurement with the pause after it: 5 s and 10 s, and a pause of 5 s. */
const SILENCE_MS = 30_000;

const listeners = new Set();
const recent = [];
let state = "waiting";
let outage = null;
let watchdog = null;
let stop = null;

/** The newest measurement; null before the first, and while nothing is measured. */
export function newest() {
  return outage ? null : recent.at(-1) ?? null;
}

/** The last two minutes, oldest first. */
export function history() {
  return recent;
}

/** `live`, `waiting` (for the connection) or `over`. */
export function connection() {
  return state;
}

/** `{since}` while nothing is measured, null where nothing ever was; null while all is well. */
export function unmeasured() {
  return outage;
}

/** Calls back with every measurement and every change of the connection; returns how to end that. */
export function listen(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

export function start() {
  if (stop) return;
  watch(null);
  stop = follow("/v1/admin/updates", take, (next) => {
    state = next;
    tell();
  });
}

export function end() {
  stop?.();
  stop = null;
  clearTimeout(watchdog);
  recent.length = 0;
  outage = null;
  state = "waiting";
}

function take({ event, data }) {
  if (event === "unavailable") return lose(data.lastAt);
  const before = newest();
  outage = null;
  recent.push({ ...data, eventsPerSecond: rate(before, data) });
  if (recent.length > KEPT) recent.shift();
  watch(data.at);
  tell();
}

/** Says by itself that nothing was measured since, where the server does not come to it. */
function watch(since) {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => lose(since), SILENCE_MS);
}

function lose(since) {
  clearTimeout(watchdog);
  outage = { since: since ?? recent.at(-1)?.at ?? null };
  tell();
}

/** Events appended between two measurements; null where that is not known. */
function rate(before, now) {
  if (!before) return null;
  const seconds = (new Date(now.at) - new Date(before.at)) / 1000;
  return seconds > 0 && seconds < 30 ? Math.max(0, (now.lag.head - before.lag.head) / seconds) : null;
}

function tell() {
  for (const callback of [...listeners]) callback();
}
