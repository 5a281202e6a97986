// The REST interface, as the console calls it.

import * as session from "./session.js";

/** Longer than the server works on a question. */
const ANSWER_WITHIN_MS = 30_000;

/** A refusal, as application/problem+json tells it. */
export class Problem extends Error {
  constructor(status, code, detail, field) {
    super(detail);
    this.status = status;
    this.code = code;
    this.field = field;
  }
}

let onSignedOut = () => {};

/** Called when the server no longer takes the token. */
export function whenSignedOut(callback) {
  onSignedOut = callback;
}

export async function get(path, parameters) {
  return whole((await ask(withQuery(path, parameters))).json());
}

/** `{body, etag}`. */
export async function getTagged(path) {
  const response = await ask(path);
  return { body: await whole(response.json()), etag: response.headers.get("etag") };
}

export async function getText(path, parameters) {
  return whole((await ask(withQuery(path, parameters))).text());
}

export async function send(method, path, { body, parameters, headers } = {}) {
  const response = await request(method, withQuery(path, parameters), { body, headers });
  return response.status === 204 ? null : whole(response.json());
}

/** The answer as it streams in; for server-sent events. */
export function open(path, signal, headers) {
  return request("GET", path, { signal, headers });
}

export function withQuery(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}

function ask(path) {
  return request("GET", path, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
}

/** An answer that breaks off is like none. */
function whole(body) {
  return body.catch((error) => {
    throw error.name === "AbortError" ? error : new Problem(0, "unreachable", "");
  });
}

async function request(method, path, { body, headers, signal } = {}) {
  const sent = session.token();
  const init = { method, signal, headers: { ...headers, authorization: `Bearer ${sent}` } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["content-type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "");
  }
  if (response.ok) return response;
  const problem = await readProblem(response);
  // An answer to a token that was replaced meanwhile says nothing about the one in force.
  if (response.status === 401 && sent === session.token()) onSignedOut(problem.code);
  throw problem;
}

async function readProblem(response) {
  const told = await response.json().catch(() => ({}));
  return new Problem(response.status, told.code ?? "unknown", told.detail ?? response.statusText, told.field);
}
