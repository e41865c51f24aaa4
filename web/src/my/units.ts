// Amounts, probabilities and times in words that people understand.
import { mebibytes } from "../dom";

export const LABELS: Record<string, string> = {
  cpu_cores: "Processor",
  memory_bytes: "Memory",
  gpu_share: "Graphics",
  network_bytes_per_s: "Network",
  storage_bytes_per_s: "Disk",
};

/** An amount of a resource with its unit; a resource that the page does not know stays a plain number. */
export function amount(resource: string, value: number): string {
  if (resource === "cpu_cores") return `${Number(value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0))} cores`;
  if (resource === "memory_bytes") return value > 0 ? mebibytes(value).replace(".0 ", " ") : "0 MiB";
  if (resource === "gpu_share") return `${percent(value)} of a GPU`;
  if (resource.endsWith("_bytes_per_s")) return rate(value);
  return String(Number(value.toPrecision(3)));
}

function rate(bytes_per_s: number): string {
  if (bytes_per_s < 1000) return `${Math.round(bytes_per_s)} B/s`;
  if (bytes_per_s < 1e6) return `${Number((bytes_per_s / 1e3).toPrecision(2))} kB/s`;
  return bytes_per_s < 1e9 ? `${Number((bytes_per_s / 1e6).toPrecision(2))} MB/s` : `${(bytes_per_s / 1e9).toFixed(1)} GB/s`;
}

export function percent(probability: number): string {
  const value = 100 * probability;
  if (value > 0 && value < 0.1) return "under 0.1 %";
  return `${value < 1 && value > 0 ? value.toFixed(1) : Math.round(value)} %`;
}

export const count = (n: number, one: string, many = `${one}s`) => `${n.toLocaleString()} ${n === 1 ? one : many}`;

export const clock = (time_s: number) =>
  new Date(time_s * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });

export const day = (time_s: number) =>
  new Date(time_s * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });

export const weekday = (time_s: number) => new Date(time_s * 1000).toLocaleDateString(undefined, { weekday: "short" });

export const moment = (time_s: number) => `${weekday(time_s)} ${day(time_s)}, ${clock(time_s)}`;

/** "3 Nov 2026 to 24 Nov 2026", or one day. */
export function span(first_s: number | null, last_s: number | null): string {
  if (first_s === null || last_s === null) return "";
  const [first, last] = [day(first_s), day(last_s)];
  return first === last ? first : `${first} to ${last}`;
}

/** A phrase as a sentence, "camera" as "Camera.". */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const start = trimmed.charAt(0).toLocaleUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}
