// A desktop's layer: keeps a stream to one ghost alive, through dropped sockets, until the desktop ends.
import { ApiError, type Handle } from "./api";
import type { PaintedRFB } from "./stream";

// noVNC awaits a probe of the browser's decoders when it is loaded; the page does not wait for that.
const loadStream = () => import("./stream");

export type State = "connecting" | "live" | "waiting" | "ended" | "signed-out" | "closed";

const BACKOFF_MS = [150, 400, 1000, 2000, 4000, 8000];
const REFUSALS = 4;

export class Connection extends EventTarget {
  readonly layer: HTMLDivElement;
  state: State = "connecting";
  /** The picture stands on the layer, at the layer's size. */
  painted = false;
  /** When the next attempt is made, in `performance.now()` time. */
  retryAt = 0;
  private rfb: PaintedRFB | null = null;
  private attempts = 0;
  private refusals = 0;
  private timer = 0;
  private still: HTMLElement | null = null;
  private shown = false;

  constructor(
    parent: HTMLElement,
    public handle: Handle,
  ) {
    super();
    this.layer = document.createElement("div");
    this.layer.className = "layer";
    parent.append(this.layer);
    addEventListener("online", this.retryNow);
    void this.connect();
  }

  get client(): PaintedRFB | null {
    return this.state === "live" ? this.rfb : null;
  }

  /** The person sees this layer and works on it, or no longer does. Held keys are released when it is hidden. */
  show(shown: boolean): void {
    this.shown = shown;
    if (shown) this.rfb?.focus({ preventScroll: true });
    else this.rfb?.blur();
  }

  close(): void {
    this.set("closed");
    removeEventListener("online", this.retryNow);
    clearTimeout(this.timer);
    this.rfb?.blur();
    this.rfb?.disconnect();
    this.rfb = null;
    this.layer.remove();
  }

  /** Try again without waiting any longer. */
  readonly retryNow = (): void => {
    if (this.state !== "waiting") return;
    clearTimeout(this.timer);
    void this.connect();
  };

  private get over(): boolean {
    return this.state === "ended" || this.state === "signed-out" || this.state === "closed";
  }

  private set(state: State): void {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  private async connect(): Promise<void> {
    if (this.over) return;
    this.set("connecting");
    try {
      const { openStream } = await loadStream();
      const rfb = await openStream(this.layer, this.handle, (code) => this.dropped(code));
      if (this.over) {
        rfb.disconnect();
        return;
      }
      this.rfb = rfb;
      rfb.addEventListener("connect", () => this.connected(rfb));
      rfb.addEventListener("painted", () => this.paint(rfb));
      rfb.addEventListener("clipboard", (event) => {
        this.dispatchEvent(new CustomEvent("clipboard", { detail: (event as CustomEvent<{ text: string }>).detail.text }));
      });
    } catch (problem) {
      this.failed(problem);
    }
  }

  private connected(rfb: PaintedRFB): void {
    this.set("live");
    // A short quarrel must not end the desktop in the person's eyes: count anew only once a stream has held.
    window.setTimeout(() => {
      if (this.rfb === rfb && this.state === "live") this.attempts = this.refusals = 0;
    }, 2000);
    if (this.shown) rfb.focus({ preventScroll: true });
  }

  private paint(rfb: PaintedRFB): void {
    if (rfb !== this.rfb || this.over) return;
    this.still?.remove();
    this.still = null;
    this.painted = true;
    this.dispatchEvent(new CustomEvent("painted", { detail: { fits: rfb.fits } }));
  }

  private dropped(code: number): void {
    if (this.over || !this.rfb) return;
    if (this.painted) this.keepPicture(this.rfb.canvas);
    this.rfb = null;
    this.painted = false;
    this.after(code);
  }

  /** The desktop goes on, only the line is down: leave its last picture standing, dimmed. */
  private keepPicture(canvas: HTMLCanvasElement): void {
    this.still?.remove();
    const copy = document.createElement("canvas");
    copy.width = canvas.width;
    copy.height = canvas.height;
    copy.getContext("2d")?.drawImage(canvas, 0, 0);
    copy.className = "still";
    this.layer.prepend(copy);
    this.still = copy;
  }

  private failed(problem: unknown): void {
    if (this.over) return;
    if (problem instanceof ApiError) {
      if (problem.status === 401) this.set("signed-out");
      else if (problem.status === 404) this.set("ended");
      else if (problem.status === 403 || problem.status === 409) this.refused();
      else this.wait();
      return;
    }
    this.after((problem as { code?: number }).code ?? 0);
  }

  private after(code: number): void {
    if (code === 4404 || code === 4410) this.set("ended");
    else if (code === 4403) this.set("signed-out");
    else if (code === 4401) this.refused();
    else this.wait();
  }

  /** A claim may have moved the generation on under our feet; if the refusals go on, the desktop is not ours. */
  private refused(): void {
    this.refusals += 1;
    if (this.refusals > REFUSALS) this.set("ended");
    else this.wait();
  }

  private wait(): void {
    const step = BACKOFF_MS[Math.min(this.attempts, BACKOFF_MS.length - 1)] ?? 8000;
    const pause = step * (0.75 + Math.random() / 2); // many pages must not come back in one moment
    this.attempts += 1;
    this.retryAt = performance.now() + pause;
    this.timer = window.setTimeout(() => void this.connect(), pause);
    this.set("waiting");
  }
}
