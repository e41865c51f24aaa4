// What of the host is promised, used, kept and free; which classes are booked; and which wishes were not granted.
import type { Booking, Capacity, Infeasible, ResourceRoom } from "./api";
import { byId, make, mebibytes } from "./dom";
import { chip, fill, type Cell } from "./table";

const NAMES: Record<string, string> = {
  cpu_cores: "CPU",
  memory_bytes: "Memory",
  gpu_share: "GPU",
  network_bytes_per_s: "Network",
  storage_bytes_per_s: "Storage",
  desktops: "Desktops",
};

/** An amount of a resource in the unit that people know it by. */
export function amount(resource: string, value: number): string {
  if (resource === "memory_bytes") return value > 0 ? mebibytes(value) : "0";
  if (resource.endsWith("_bytes_per_s")) return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} MB/s`;
  if (resource === "gpu_share") return value.toFixed(2);
  if (resource === "desktops") return String(Math.round(value));
  return `${value.toFixed(value < 10 ? 1 : 0)} cores`;
}

/** How what may be promised is shared out, as a bar: people, ghosts, kept for classes; the rest is free. */
function bar(room: ResourceRoom): Cell {
  if (room.allowed === null || room.allowed <= 0) return "–";
  const whole = room.allowed;
  const parts: [string, number][] = [
    ["people", room.people],
    ["ghosts", room.ghosts],
    ["kept", room.reserved],
  ];
  const words = parts.map(([name, value]) => `${name} ${amount(room.resource, value)}`).join(", ");
  const element = make("span", { class: "share", title: words, attributes: { role: "img", "aria-label": words } });
  for (const [name, value] of parts) {
    const part = make("span", { class: `share-${name}` });
    part.style.width = `${Math.min(100, (100 * value) / whole).toFixed(1)}%`;
    element.append(part);
  }
  return element;
}

function roomRow(room: ResourceRoom): Cell[] {
  const shown = (value: number | null) => (value === null ? "not counted" : amount(room.resource, value));
  return [
    NAMES[room.resource] ?? room.resource,
    bar(room),
    room.allowed === null ? "not told" : amount(room.resource, room.has),
    shown(room.allowed),
    amount(room.resource, room.people),
    amount(room.resource, room.ghosts),
    amount(room.resource, room.reserved),
    room.used === null ? "–" : amount(room.resource, room.used),
    shown(room.free),
  ];
}

function bookingRow(booking: Booking): Cell[] {
  const day = new Intl.DateTimeFormat(undefined, { weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const until = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const when = `${day.format(booking.start_s * 1000)} – ${until.format(booking.end_s * 1000)}`;
  const kind = { running: "good", held: "run", booked: "ready" }[booking.state] ?? "ready";
  const seats = booking.state === "booked" ? String(booking.desktops) : `${booking.taken} of ${booking.desktops} taken`;
  return [when, booking.name, booking.whose, seats, chip(booking.state, kind), booking.source || "by hand"];
}

function infeasibleRow(entry: Infeasible): Cell[] {
  const what = entry.count > 1 ? `${entry.action} (${entry.count})` : entry.action;
  const resource = NAMES[entry.resource];
  const short = resource ? `${amount(entry.resource, entry.asked)} asked, ${amount(entry.resource, entry.free)} free` : "";
  return [what, resource ?? "–", short, entry.reason];
}

export function renderCapacity(capacity: Capacity, infeasible: Infeasible[]): void {
  const parked = capacity.parked_bytes > 0 ? ` Parking has freed ${mebibytes(capacity.parked_bytes)}.` : "";
  const kept = capacity.reserved > 0 ? ` ${capacity.reserved} more are to be made for booked classes.` : "";
  byId("capacity-words").textContent = capacity.rooms.length
    ? `${capacity.desktops} of ${capacity.most_desktops} desktops, ${capacity.ghosts} of them ghosts.${kept}${parked}`
    : "No rules of capacity are in force.";
  fill("capacity-table", capacity.rooms.map(roomRow), "Nothing is counted.");
  fill("bookings-table", capacity.bookings.map(bookingRow), "No class is booked for the next days.");
  fill("infeasible-table", infeasible.map(infeasibleRow), "Nothing was left undone.");
}
