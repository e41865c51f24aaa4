// Small helpers for the page. Text from the server reaches the page through `textContent` alone.

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`#${id} is missing from the page`);
  return found as T;
}

type Child = Node | string;

/** Make an element; strings become text, never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  options: { class?: string; title?: string; attributes?: Record<string, string> } = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (options.class) element.className = options.class;
  if (options.title) element.title = options.title;
  for (const [name, value] of Object.entries(options.attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An application's icon, or the first letter of its name where it has none that can be trusted to be a picture. */
export function appIcon(name: string, icon: string): HTMLElement {
  if (/^data:image\/(png|svg\+xml|jpeg|webp|gif)[;,]/.test(icon)) {
    const image = make("img", { class: "app-icon", attributes: { alt: "", draggable: "false" } });
    image.src = icon;
    return image;
  }
  const letter = make("span", { class: "app-icon app-letter", attributes: { "aria-hidden": "true" } });
  letter.textContent = [...name][0]?.toUpperCase() ?? "?";
  letter.style.setProperty("--hue", String([...name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 360, 7)));
  return letter;
}

/** Show a text in a live region, or hide the region when there is none. */
export function say(element: HTMLElement, text: string): void {
  element.textContent = text;
  element.hidden = text === "";
}

export function seconds(duration_s: number): string {
  return duration_s < 1 ? `${Math.round(duration_s * 1000)} ms` : `${duration_s.toFixed(duration_s < 10 ? 1 : 0)} s`;
}

export function mebibytes(bytes: number): string {
  if (bytes <= 0) return "–";
  const mib = bytes / (1024 * 1024);
  return mib < 1024 ? `${Math.round(mib)} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
}
