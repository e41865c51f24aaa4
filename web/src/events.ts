// Notices from the server, as they happen.
import { api, asApiError, type Notice } from "./api";

export class Notices {
  private source: EventSource | null = null;
  private timer = 0;
  private pause = 1000;

  constructor(
    private readonly onNotice: (notice: Notice) => void,
    private readonly onSignedOut: () => void,
  ) {}

  start(): void {
    this.stop();
    const source = new EventSource("/api/events");
    this.source = source;
    source.onopen = () => {
      this.pause = 1000;
    };
    source.addEventListener("notice", (event) => {
      this.onNotice(JSON.parse((event as MessageEvent<string>).data) as Notice);
    });
    source.addEventListener("signed-out", () => this.onSignedOut());
    source.onerror = () => {
      // The browser retries dropped streams by itself, but not refused ones.
      if (source.readyState === EventSource.CLOSED && this.source === source) void this.again();
    };
  }

  stop(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private async again(): Promise<void> {
    try {
      await api.me();
    } catch (problem) {
      if (asApiError(problem).status === 401) {
        this.onSignedOut();
        return;
      }
    }
    this.timer = window.setTimeout(() => this.start(), this.pause);
    this.pause = Math.min(this.pause * 2, 15_000);
  }
}
