// Every page, by its name in the address. The order is the menu's.

import { audit } from "./pages/audit.js";
import { consumers } from "./pages/consumers.js";
import { deadLetters } from "./pages/dead-letters.js";
import { orders } from "./pages/orders.js";
import { outbox } from "./pages/outbox.js";
import { overview } from "./pages/overview.js";
import { projections } from "./pages/projections.js";
import { redrives } from "./pages/redrives.js";
import { rollout } from "./pages/rollout.js";
import { sagas } from "./pages/sagas.js";
import { stock } from "./pages/stock.js";

export const PAGES = {
  overview,
  orders,
  stock,
  projections,
  outbox,
  consumers,
  "dead-letters": deadLetters,
  redrives,
  sagas,
  rollout,
  audit,
};
