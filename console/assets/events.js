// Server-sent events over fetch: EventSource can't send an Authorization header.

import * as api from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** Longer than the server is ever silent: `http.update_heartbeat_ms` is at most 30 s. */
const SILENCE_MS = 45_000;

/**
 * Follows a stream until `stop()` is called: comes back with the last id after a break, ever more slowly.
 * `onEvent({id, event, data})`, `onState("live" | "waiting" | "over")`.
 */
export function follow(path, onEvent, onState = () => {}) {
  let controller = new AbortController();
  let isStopped = false;
  let lastId = null;
  let pauseMs = FIRST_PAUSE_MS;

  const readOnce = async () => {
    controller = new AbortController();
    const headers = lastId === null ? {} : { "last-event-id": lastId };
    const response = await api.open(path, controller.signal, headers);
    if (response.status === 204) return "over";
    onState("live");
    const watchdog = silenceWatchdog(controller);
    try {
      for await (const event of parse(response.body, watchdog.touch)) {
        lastId = event.id ?? lastId;
        pauseMs = FIRST_PAUSE_MS;
        // What a page makes of it is no fault of the stream.
        try {
          onEvent(event);
        } catch (error) {
          reportError(error);
        }
      }
    } finally {
      watchdog.stop();
    }
    return "broken";
  };

  (async () => {
    while (!isStopped) {
      let end = "broken";
      try {
        end = await readOnce();
      } catch (error) {
        if (error.status === 401 || error.status === 403 || error.status === 404) end = "over";
      }
      if (isStopped) return;
      onState(end === "over" ? "over" : "waiting");
      if (end === "over") return;
      await new Promise((done) => setTimeout(done, pauseMs * (0.7 + 0.6 * Math.random())));
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  })();

  return () => {
    isStopped = true;
    controller.abort();
  };
}

/** A connection that a proxy forgot about looks open for ever. */
function silenceWatchdog(controller) {
  let timer;
  const touch = () => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(), SILENCE_MS);
  };
  touch();
  return { touch, stop: () => clearTimeout(timer) };
}

async function* parse(body, touch) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    touch();
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event) yield event;
    }
  }
}

function parseBlock(block) {
  const event = { id: null, event: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    event[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
  return event.data ? { ...event, data: JSON.parse(event.data) } : null;
}
