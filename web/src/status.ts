// What the operator sees: ghosts, plan, launches, abilities. Refreshes itself while it is looked at.
import { api, asApiError, type Action, type Status } from "./api";
import { byId, make, mebibytes, say, seconds } from "./dom";

const EVERY_MS = 2000;
const LADDER = ["active", "warm", "ready", "parked", "cached", "absent", "draining"];

type Cell = string | Node;

function fill(table: string, rows: Cell[][], none: string): void {
  const body = byId<HTMLTableElement>(table).tBodies[0];
  if (!body) return;
  const columns = byId<HTMLTableElement>(table).tHead?.rows[0]?.cells.length ?? 1;
  const made = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  if (made.length === 0) {
    made.push(make("tr", {}, make("td", { class: "none", attributes: { colspan: String(columns) } }, none)));
  }
  body.replaceChildren(...made);
}

const chip = (text: string, kind: string) => make("span", { class: `chip chip-${kind}` }, text);

function ago(then_s: number, now_s: number): string {
  const passed = Math.max(0, now_s - then_s);
  if (passed < 90) return `${Math.round(passed)} s`;
  return passed < 5400 ? `${Math.round(passed / 60)} min` : `${Math.round(passed / 3600)} h`;
}

function actionRow(action: Action): Cell[] {
  const done = action.done === null ? chip("running", "run") : chip(action.done, action.done === "ok" ? "good" : "bad");
  return [action.action, action.subject, action.reason, done];
}

export function render(status: Status): void {
  const cards = LADDER.map((state) => {
    const held = status.ghosts.filter((ghost) => ghost.state === state);
    const memory = held.reduce((sum, ghost) => sum + ghost.memory_bytes, 0);
    const card = make("div", { class: `card rung rung-${state}` });
    card.append(
      make("span", { class: "count" }, String(held.length)),
      make("span", { class: "rung-name" }, state),
      make("span", { class: "rung-memory" }, held.length ? mebibytes(memory) : ""),
    );
    return card;
  });
  byId("rungs").replaceChildren(...cards);
  byId("pool-reason").textContent = `Pool target ${status.pool_target}. ${status.pool_reason}`;
  say(byId("status-problem"), status.problem);
  fill(
    "ghosts-table",
    status.ghosts.map((ghost) => [
      ghost.ghost,
      chip(ghost.pending ? `${ghost.state} → ${ghost.pending}` : ghost.state, ghost.state),
      ghost.owner ?? "–",
      ghost.apps.join(", ") || "–",
      mebibytes(ghost.memory_bytes),
      `${ghost.cpu_s.toFixed(1)} s`,
      ago(ghost.since_s, status.now_s),
      ghost.reason,
    ]),
    "There is no ghost.",
  );
  fill("plan-table", status.plan.map(actionRow), "Nothing needs doing.");
  fill("infeasible-table", status.infeasible.map((action) => actionRow(action).slice(0, 3)), "Nothing was left undone.");
  fill(
    "launches-table",
    status.launches.map((launch) => [
      `${ago(launch.time_s, status.now_s)} ago`,
      launch.user,
      launch.what,
      launch.path,
      seconds(launch.duration_s),
      launch.reason,
    ]),
    "Nothing has been launched yet.",
  );
  fill(
    "abilities-table",
    status.abilities.map((ability) => [
      ability.name,
      chip(ability.available ? "yes" : "no", ability.available ? "good" : "bad"),
      ability.detail,
      ability.available ? "" : ability.mend,
    ]),
    "The engine reports nothing.",
  );
}

export class StatusView {
  private timer = 0;
  private showing = false;

  show(showing: boolean): void {
    if (showing === this.showing) return;
    this.showing = showing;
    clearTimeout(this.timer);
    if (showing) void this.refresh();
  }

  private async refresh(): Promise<void> {
    if (!document.hidden) {
      try {
        render(await api.status());
        byId("status-time").textContent = `as of ${new Date().toLocaleTimeString()}`;
        say(byId("status-error"), "");
      } catch (problem) {
        say(byId("status-error"), asApiError(problem).text);
      }
    }
    if (this.showing) this.timer = window.setTimeout(() => void this.refresh(), EVERY_MS);
  }
}
