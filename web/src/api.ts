// The server's HTTP API, typed. docs/reference/http-api.md describes it.

export interface Me {
  user: string;
  display_name: string;
  role: string;
}

export interface Handle {
  ghost: string;
  generation: number;
  active: boolean;
  path: string;
  duration_s: number;
  reason: string;
  /** Whether to connect to it ahead, hidden: not over a line that takes long for a picture. */
  preconnect: boolean;
}

export interface App {
  app: string;
  name: string;
  categories: string[];
  icon: string;
  state: string;
  probability: number;
}

export interface Launch {
  time_s: number;
  user: string;
  what: string;
  path: string;
  duration_s: number;
  reason: string;
}

export interface Ghost {
  ghost: string;
  state: string;
  owner: string | null;
  apps: string[];
  pending: string | null;
  since_s: number;
  memory_bytes: number;
  cpu_s: number;
  reason: string;
}

export interface Action {
  action: string;
  subject: string;
  reason: string;
  done: string | null;
}

export interface Ability {
  name: string;
  available: boolean;
  detail: string;
  mend: string;
}

/** Whether forecasts come true as they did before; what is not known is null. */
export interface Forecasts {
  model: string;
  learning: string;
  problem: string;
  steps: number;
  loss_nats: number | null;
  loss_before_nats: number | null;
  hit_rate: number | null;
  hit_rate_before: number | null;
  sign_ins_expected_a_week: number;
  sign_ins_came_a_week: number;
  half_hours: number;
  drifted: boolean;
  words: string;
  mend: string;
}

/** A wish that was not granted; `resource` is empty where none is short. */
export interface Infeasible {
  action: string;
  reason: string;
  code: string;
  resource: string;
  asked: number;
  free: number;
  count: number;
}

/** One resource; null where it is not counted or not measured. */
export interface ResourceRoom {
  resource: string;
  has: number;
  allowed: number | null;
  people: number;
  ghosts: number;
  reserved: number;
  used: number | null;
  free: number | null;
}

export interface Booking {
  number: number;
  name: string;
  whose: string;
  start_s: number;
  end_s: number;
  desktops: number;
  taken: number;
  left: number;
  state: string;
  source: string;
}

export interface Capacity {
  rooms: ResourceRoom[];
  desktops: number;
  most_desktops: number;
  ghosts: number;
  reserved: number;
  parked_bytes: number;
  bookings: Booking[];
}

/** What the host draws and has drawn. */
export interface Energy {
  power_w: number | null;
  source: string;
  modelled: boolean;
  problem: string;
  since_s: number;
  measured_kwh: number;
  modelled_kwh: number;
  saved_kwh: number;
  worth: number;
  worth_reason: string;
  hosts: string;
}

export interface Status {
  now_s: number;
  ghosts: Ghost[];
  plan: Action[];
  infeasible: Infeasible[];
  launches: Launch[];
  abilities: Ability[];
  pool_target: number;
  pool_reason: string;
  problem: string;
  forecasts: Forecasts;
  context: Context;
  capacity: Capacity;
  energy: Energy;
}

/** Something of the host that can get short; levels are from 0 to 1. */
export interface Gauge {
  code: string;
  name: string;
  level: number;
  per_minute: number;
  trend: string;
  resume_at: number;
  slow_at: number;
  pause_at: number;
  short_in_s: number | null;
}

/** The line to one person's browser. */
export interface Link {
  user: string;
  ghost: string;
  quality: string;
  text: string;
  rtt_s: number;
  rtt_best_s: number;
  bytes_per_s: number | null;
  waiting_share: number;
}

/** How the host fares, and what is done otherwise because of it. */
export interface Context {
  gate: string;
  gate_text: string;
  notes: string[];
  changes: { time_s: number; text: string }[];
  gauges: Gauge[];
  links: Link[];
  conditions: {
    load: number;
    cpu_share: number;
    memory_bytes: number;
    memory_available_bytes: number;
    swap_bytes: number;
    swap_free_bytes: number;
    disk_free_bytes: number;
    disk_busy_share: number;
    network_in_bytes_per_s: number;
    network_out_bytes_per_s: number;
    faults: { code: string; text: string }[];
    problems: string[];
  } | null;
}

export interface Notice {
  kind: string;
  text: string;
  handle: Handle | null;
}

/** What the server said went wrong, or that it cannot be reached (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly cause_: string,
    readonly mend: string,
    readonly requestId: string,
  ) {
    super([cause_, mend].filter(Boolean).join(" "));
  }

  /** One text for people, with the number to quote where the server's operator must look. */
  get text(): string {
    const number = this.status >= 500 && this.requestId ? ` (request ${this.requestId})` : "";
    return this.message + number;
  }
}

/** Any failure as an `ApiError`. */
export function asApiError(problem: unknown): ApiError {
  if (problem instanceof ApiError) return problem;
  return new ApiError(0, "unreachable", "The server cannot be reached.", "Check your connection.", "");
}

/** Call the API as the signed-in user; throws `ApiError`. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (problem) {
    throw asApiError(problem);
  }
  if (!response.ok) throw await readError(response);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch {
    throw odd(response);
  }
}

const odd = (response: Response) =>
  new ApiError(response.status, "odd", "The server gave an odd answer.", "Load the page again.", "");

/** What a response that is not `ok` says went wrong. */
export async function readError(response: Response): Promise<ApiError> {
  let answer: unknown;
  try {
    answer = await response.json();
  } catch {
    return odd(response);
  }
  const error = (answer as { error?: Record<string, string> } | null)?.error ?? {};
  return new ApiError(
    response.status,
    error["code"] ?? "odd",
    error["cause"] ?? "The server refused.",
    error["mend"] ?? "",
    error["request_id"] ?? "",
  );
}

export const api = {
  me: () => call<Me>("GET", "/api/me"),
  signIn: (token: string) => call<Me>("POST", "/api/session", { token }),
  signOut: () => call<void>("DELETE", "/api/session"),
  prepare: () => call<Handle | null>("POST", "/api/desktop/prepare"),
  open: () => call<Handle>("POST", "/api/desktop/open"),
  end: () => call<void>("DELETE", "/api/desktop"),
  ticket: (handle: Handle) =>
    call<{ ticket: string }>("POST", "/api/desktop/ticket", { ghost: handle.ghost, generation: handle.generation }),
  apps: () => call<App[]>("GET", "/api/apps"),
  launch: (app: string) => call<Launch>("POST", `/api/apps/${encodeURIComponent(app)}/launch`),
  status: () => call<Status>("GET", "/api/status"),
};
