// The person's desktop: preconnected in a hidden layer, swapped in, claimed, kept alive, ended.
import { api, ApiError, asApiError, type Handle, type Notice } from "./api";
import { Connection } from "./connection";
import { afterFrame, mark, marks, startMarks } from "./marks";

const DROP_HIDDEN_AFTER_MS = 5 * 60_000;

/** What the rest of the page shows of the desktop. */
export interface DesktopEvents {
  /** The layers are in front now (true) or the door is (false). Must switch at once: it is called within the press. */
  swap(desktop: boolean): void;
  changed(): void;
  failed(problem: ApiError): void;
  ended(why: string): void;
  signedOut(): void;
  clipboard(text: string): void;
}

export class Desktop {
  handle: Handle | null = null;
  /** The desktop is in front. */
  shown = false;
  /** The claim is under way. */
  opening = false;
  private connection: Connection | null = null;
  private why = "";
  private endedTimer = 0;
  private hiddenTimer = 0;
  private preparing: Promise<void> | null = null;

  constructor(
    private readonly layers: HTMLElement,
    private readonly preconnect: boolean,
    private readonly on: DesktopEvents,
  ) {
    document.addEventListener("visibilitychange", () => this.visibility());
  }

  get state(): Connection["state"] | "none" {
    return this.connection?.state ?? "none";
  }

  get painted(): boolean {
    return this.connection?.painted ?? false;
  }

  get client() {
    return this.shown && this.handle?.active ? (this.connection?.client ?? null) : null;
  }

  get retryInMs(): number {
    return Math.max(0, (this.connection?.retryAt ?? 0) - performance.now());
  }

  /** Whether the page connects to the present desktop before it is opened. */
  get connectsAhead(): boolean {
    return this.preconnect && this.handle?.preconnect !== false;
  }

  retryNow(): void {
    this.connection?.retryNow();
  }

  focus(): void {
    if (this.shown) this.connection?.show(true);
  }

  /** At the door: ask for the desktop that is about to be needed, and connect to it, hidden. */
  prepare(): Promise<void> {
    this.preparing ??= this.askPrepared().finally(() => {
      this.preparing = null;
    });
    return this.preparing;
  }

  private async askPrepared(): Promise<void> {
    if (document.hidden || this.opening || this.handle?.active) return; // a page nobody looks at is nobody at the door
    try {
      const handle = await api.prepare();
      if (handle && !this.opening) this.adopt(handle);
    } catch (problem) {
      const error = asApiError(problem);
      if (error.status === 401) this.on.signedOut();
      // Else say nothing: pressing the button tells what is wrong, and may well work by then.
    }
    this.on.changed();
  }

  notice(notice: Notice): void {
    if (notice.kind === "prepared" && notice.handle) {
      if (!this.opening && !this.handle?.active) this.adopt(notice.handle);
    } else if (notice.kind === "lost") {
      if (!this.handle || (notice.handle && notice.handle.ghost !== this.handle.ghost)) return;
      this.why = notice.text;
      // Without a name it may be about an older desktop: then the stream's own end decides.
      if (notice.handle || this.connection?.state === "ended") this.lost();
    }
    this.on.changed();
  }

  /** "Open desktop": the painted layer is shown at once, within this very call; the claim goes on beside it. */
  async open(pressTime: number): Promise<boolean> {
    if (this.opening) return false;
    this.opening = true;
    this.why = "";
    startMarks(pressTime, this.painted);
    this.show();
    try {
      const handle = await api.open();
      mark("claimed");
      this.adopt(handle);
      return true;
    } catch (problem) {
      const error = asApiError(problem);
      if (error.status === 401) this.on.signedOut();
      else {
        this.hide();
        if (error.status === 403 || error.status === 404 || error.status === 409) this.drop();
        this.on.failed(error);
      }
      return false;
    } finally {
      this.opening = false;
      this.on.changed();
    }
  }

  /** Back to the door; the desktop goes on behind it. */
  hide(): void {
    this.shown = false;
    this.connection?.show(false);
    this.layers.inert = true;
    this.on.swap(false);
    this.on.changed();
  }

  async end(): Promise<void> {
    this.why = "You ended it.";
    await api.end();
    this.lost();
  }

  /** Forget the desktop on this page, without a word to the server. */
  drop(): void {
    this.connection?.close();
    this.connection = null;
    this.handle = null;
    clearTimeout(this.endedTimer);
  }

  private show(): void {
    this.shown = true;
    this.layers.inert = false;
    this.on.swap(true);
    this.connection?.show(true);
    const painted = this.painted;
    afterFrame(() => {
      mark("swapped");
      if (painted) mark("firstFrame", marks.swapped ?? performance.now());
    });
  }

  /** Take a handle over: the same ghost keeps its living stream, another gets a layer of its own. */
  private adopt(handle: Handle): void {
    const same = this.handle?.ghost === handle.ghost && this.connection !== null;
    this.handle = handle;
    if (same && this.connection) {
      this.connection.handle = handle;
      if (this.connection.state !== "ended") return;
    }
    if (!handle.active && !this.connectsAhead) return;
    this.connection?.close();
    const connection = new Connection(this.layers, handle);
    this.connection = connection;
    connection.addEventListener("state", () => this.stateChanged(connection));
    connection.addEventListener("painted", (event) =>
      this.layerPainted(connection, (event as CustomEvent<{ fits: boolean }>).detail.fits),
    );
    connection.addEventListener("clipboard", (event) => {
      // A desktop that nobody has opened yet has nothing to say to the clipboard.
      if (connection === this.connection && this.shown) this.on.clipboard((event as CustomEvent<string>).detail);
    });
    if (this.shown) connection.show(true);
  }

  private layerPainted(connection: Connection, fits: boolean): void {
    if (connection !== this.connection) return;
    if (!this.shown) {
      if (fits) mark("prepainted");
    } else if (marks.firstFrame === null && marks.press !== null) {
      afterFrame(() => {
        if (marks.firstFrame === null) mark("firstFrame");
      });
    }
    this.on.changed();
  }

  private stateChanged(connection: Connection): void {
    if (connection !== this.connection) return;
    if (connection.state === "signed-out") this.on.signedOut();
    else if (connection.state === "ended") {
      // The notice that says why comes by another road, and may be a moment later.
      clearTimeout(this.endedTimer);
      this.endedTimer = window.setTimeout(() => this.lost(), this.why ? 0 : 600);
    }
    this.on.changed();
  }

  private lost(): void {
    const seen = this.shown || this.handle?.active === true;
    if (!this.handle) return;
    if (this.opening && !this.handle.active) {
      this.drop(); // the claim will say what we get instead
      return;
    }
    this.drop();
    if (this.shown) this.hide();
    if (seen) this.on.ended(this.why || "It stopped running.");
    this.why = "";
    this.on.changed();
  }

  /** A hidden layer in a page that nobody looks at must not keep a desktop awake for ever. */
  private visibility(): void {
    clearTimeout(this.hiddenTimer);
    if (document.hidden) {
      this.hiddenTimer = window.setTimeout(() => {
        if (!this.shown && !this.handle?.active) this.drop();
      }, DROP_HIDDEN_AFTER_MS);
    } else if (!this.shown && !this.connection) void this.prepare();
  }
}
