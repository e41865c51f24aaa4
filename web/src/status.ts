// What the operator sees: ghosts, plan, launches, abilities. Refreshes itself while it is looked at.
import { api, asApiError, type Action, type Forecasts, type Status } from "./api";
import { renderContext } from "./context";
import { renderCapacity } from "./capacity";
import { byId, make, mebibytes, say, seconds } from "./dom";
import { chip, fill, type Cell } from "./table";
import { renderEnergy } from "./energy";

const EVERY_MS = 2000;
const LADDER = ["active", "warm", "ready", "parked", "cached", "absent", "draining"];

function ago(then_s: number, now_s: number): string {
  const passed = Math.max(0, now_s - then_s);
  if (passed < 90) return `${Math.round(passed)} s`;
  return passed < 5400 ? `${Math.round(passed / 60)} min` : `${Math.round(passed / 3600)} h`;
}

function actionRow(action: Action): Cell[] {
  const done = action.done === null ? chip("running", "run") : chip(action.done, action.done === "ok" ? "good" : "bad");
  return [action.action, action.subject, action.reason, done];
}

/** Which model is in use, how the forecasts fare, and what helps when they got worse. */
function renderForecasts(told: Forecasts): void {
  const parts = [told.model ? `Model ${told.model}.` : "No trained model: simple predictors that learn as events come."];
  if (told.learning) parts.push(`Model ${told.learning} is being taken up.`);
  if (told.hit_rate !== null && told.loss_nats !== null) {
    parts.push(`First choice right ${Math.round(100 * told.hit_rate)} %, ${told.loss_nats.toFixed(2)} nats a step.`);
  }
  if (told.half_hours > 0) {
    const [came, expected] = [told.sign_ins_came_a_week, told.sign_ins_expected_a_week].map(Math.round);
    parts.push(`${came} sign-ins a week, ${expected} forecast.`);
  }
  byId("forecast-model").textContent = parts.join(" ");
  const worse = told.drifted || told.problem !== "";
  say(byId("forecast-problem"), worse ? [told.problem, told.drifted ? told.words : "", told.mend].filter(Boolean).join(" ") : "");
  byId("forecast-words").textContent = told.drifted ? "" : told.words;
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
  renderForecasts(status.forecasts);
  renderContext(status.context);
  renderEnergy(status.energy);
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
  renderCapacity(status.capacity, status.infeasible);
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
