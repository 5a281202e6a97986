// What the server measures every second, shared by all pages: the newest measurement and the last two minutes.

import { follow } from "./events.js";

const KEPT = 120;

const listeners = new Set();
const recent = [];
let state = "waiting";
let stop = null;

/** The newest measurement, or null. */
export function newest() {
  return recent.at(-1) ?? null;
}

/** The last two minutes, oldest first. */
export function history() {
  return recent;
}

/** `live`, `waiting` (for the connection) or `over`. */
export function connection() {
  return state;
}

/** Calls back with every measurement and every change of the connection; returns how to end that. */
export function listen(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

export function start() {
  if (stop) return;
  stop = follow("/v1/admin/updates", take, (next) => {
    state = next;
    tell();
  });
}

export function end() {
  stop?.();
  stop = null;
  recent.length = 0;
  state = "waiting";
}

function take({ data }) {
  const before = newest();
  recent.push({ ...data, eventsPerSecond: rate(before, data) });
  if (recent.length > KEPT) recent.shift();
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
