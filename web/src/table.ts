// Tables that are filled again and again.
import { byId, make } from "./dom";

export type Cell = string | Node;

/** Put these rows in the place of what the table showed; `none` is said where there are none. */
export function fill(table: string, rows: Cell[][], none: string): void {
  const body = byId<HTMLTableElement>(table).tBodies[0];
  if (!body) return;
  const columns = byId<HTMLTableElement>(table).tHead?.rows[0]?.cells.length ?? 1;
  const made = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  if (made.length === 0) {
    made.push(make("tr", {}, make("td", { class: "none", attributes: { colspan: String(columns) } }, none)));
  }
  body.replaceChildren(...made);
}

export const chip = (text: string, kind: string) => make("span", { class: `chip chip-${kind}` }, text);
