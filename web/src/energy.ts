// What the host draws: watts now, and energy since the service began. What is modelled says so.
import type { Energy } from "./api";
import { byId, say } from "./dom";

function kilowattHours(energy: Energy): string {
  const parts = [];
  if (energy.measured_kwh > 0) parts.push(`${energy.measured_kwh.toFixed(2)} kWh measured`);
  if (energy.modelled_kwh > 0 || parts.length === 0) parts.push(`${energy.modelled_kwh.toFixed(2)} kWh modelled`);
  return parts.join(", ");
}

export function renderEnergy(energy: Energy): void {
  const how = energy.modelled ? "modelled" : "measured";
  byId("energy-now").textContent =
    energy.power_w === null ? "Nothing says what the host draws." : `${Math.round(energy.power_w)} W, ${how}: ${energy.source}.`;
  const since = new Date(energy.since_s * 1000).toLocaleString();
  const saved = `${energy.saved_kwh.toFixed(2)} kWh saved by hosts that slept (${energy.hosts}).`;
  const worth = energy.worth === 1 ? "" : ` A watt is worth ${energy.worth.toFixed(2)} times the usual.`;
  byId("energy-since").textContent = `Since ${since}: ${kilowattHours(energy)}; ${saved}${worth}`;
  say(byId("energy-problem"), energy.problem);
}
