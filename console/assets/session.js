// Who looks: a bearer token, kept for this tab only. The server checks it with every call; what is read here is only shown.

const KEY = "order-ledger.token";
const STAFF = ["operator", "auditor", "admin"];
const OPERATORS = ["operator", "admin"];

export function token() {
  return sessionStorage.getItem(KEY);
}

export function keep(text) {
  sessionStorage.setItem(KEY, text);
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

/** `{user, roles, expiresAt}`, or null where the text is not a token. */
export function read(text) {
  try {
    const claims = JSON.parse(decode(text.split(".")[1]));
    return { user: claims.sub, roles: claims.roles ?? [], expiresAt: new Date(claims.exp * 1000) };
  } catch {
    return null;
  }
}

function decode(part) {
  const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}

export function current() {
  const text = token();
  return text ? read(text) : null;
}

export function isStaff(who) {
  return who?.roles.some((role) => STAFF.includes(role)) ?? false;
}

/** Whether this token may change anything. The server refuses otherwise anyway. */
export function mayOperate() {
  return current()?.roles.some((role) => OPERATORS.includes(role)) ?? false;
}
