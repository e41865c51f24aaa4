// The part of the HTTP API that is about the signed-in person's own data, typed.
import { asApiError, call, readError } from "../api";

export interface Consent {
  source: string;
  label: string;
  what: string;
  allowed: boolean;
  operator_allows: boolean;
  events: number;
  first_s: number | null;
  last_s: number | null;
}

export interface Place {
  name: string;
  kind: string;
  here: boolean;
  /** How likely they are there at this hour, 0 to 1. */
  probability: number;
}

/** Amounts as the server counts them; one that is missing or 0 asks for nothing. */
export interface Amounts {
  cpu_cores?: number;
  memory_bytes?: number;
  gpu_share?: number;
  network_bytes_per_s?: number;
  storage_bytes_per_s?: number;
}

export interface ModeDefinition {
  apps: string[];
  file_types: string[];
  resources: Amounts;
}

export interface Mode extends ModeDefinition {
  name: string;
  chosen: boolean;
  probability: number | null;
  /** Why the mode is expected; empty when it is not. */
  reason: string;
}

export interface Calendar {
  name: string;
  kind: string;
  synced_s: number | null;
  problem: string;
  entries: number;
}

export interface Prepared {
  time_s: number;
  what: string;
  reason: string;
}

export interface MyData {
  consents: Consent[];
  places: Place[];
  modes: Mode[];
  calendars: Calendar[];
  prepared: Prepared[];
  habits: string[];
}

export interface CurveApp {
  app: string;
  name: string;
  probability: number;
  in_use: (number | null)[];
}

export interface Quantiles {
  levels: number[];
  slots: (number | null)[][];
}

export interface Curve {
  start_s: number;
  slot_s: number;
  arrival: (number | null)[];
  presence: (number | null)[];
  apps: CurveApp[];
  resources: Record<string, Quantiles>;
  reasons: string[];
}

/** Degrees, rounded before they leave the page. */
export interface Coordinates {
  latitude: number;
  longitude: number;
}

const named = (kind: string, name: string) => `/api/my/${kind}/${encodeURIComponent(name)}`;

export const my = {
  data: () => call<MyData>("GET", "/api/my/data"),
  curve: (hours: number) => call<Curve>("GET", `/api/my/curve?hours=${hours}`),
  consent: (source: string, allowed: boolean) => call<unknown>("PUT", named("consents", source), { allowed }),
  delete: (source: string) =>
    call<{ deleted_events: number }>("DELETE", `/api/my/data?source=${encodeURIComponent(source)}`),
  putPlace: (name: string, kind: string, at: Coordinates | null) =>
    call<unknown>("PUT", named("places", name), { kind, ...at }),
  deletePlace: (name: string) => call<unknown>("DELETE", named("places", name)),
  choosePlace: (at: { name: string } | Coordinates) => call<{ place: string | null }>("POST", "/api/my/place", at),
  putMode: (name: string, mode: ModeDefinition) => call<unknown>("PUT", named("modes", name), mode),
  deleteMode: (name: string) => call<unknown>("DELETE", named("modes", name)),
  chooseMode: (name: string | null) => call<unknown>("POST", "/api/my/mode", { name }),
  putCalendar: (name: string, text: string) => call<unknown>("PUT", named("calendars", name), { text }),
  deleteCalendar: (name: string) => call<unknown>("DELETE", named("calendars", name)),
  export: exported,
};

/** Everything that is stored about the person, as a file to save. */
async function exported(): Promise<{ file: Blob; name: string }> {
  let response: Response;
  try {
    response = await fetch("/api/my/export", { credentials: "same-origin", cache: "no-store", redirect: "error" });
  } catch (problem) {
    throw asApiError(problem);
  }
  if (!response.ok) throw await readError(response);
  const name = /filename="?([\w.-]+)"?/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  return { file: await response.blob(), name: name ?? "ghostdesk-my-data.json" };
}
