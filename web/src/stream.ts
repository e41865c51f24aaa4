// One stream to a desktop: WebSocket, ticket, RFB; nothing about layers or retries.
import RFB from "@novnc/novnc";

import { api, type Handle } from "./api";

/** Codes that our gateway closes a stream with. */
export const CLOSE = { ticketRefused: 4401, signedOut: 4403, ghostGone: 4404, desktopEnded: 4410, tooMany: 4429 };

const OPEN_WAIT_MS = 10_000;
// A local network is quick and a desktop is mostly text: little compression, high quality.
const QUALITY = 8;
const COMPRESSION = 1;

/** noVNC's client, which also tells when the desktop's picture stands on the canvas ("painted", once a size). */
export class PaintedRFB extends RFB {
  private rects = 0;
  private toldSize = "";

  constructor(target: HTMLElement, socket: WebSocket) {
    super(target, socket, { shared: true });
    // noVNC lets go of held keys when the window loses the focus, but not when another part of the page takes it.
    this._canvas.addEventListener("blur", () => this._keyboard._allKeysUp());
  }

  protected override _handleDataRect(): boolean {
    const done = super._handleDataRect();
    if (done) this.rects += 1;
    return done;
  }

  protected override _framebufferUpdate(): boolean {
    const done = super._framebufferUpdate();
    // The first updates may carry no pixels, only the cursor and the screen's size.
    const size = `${this._fbWidth}x${this._fbHeight}`;
    if (done && this.rects > 0 && size !== this.toldSize) {
      this.toldSize = size;
      // Pictures within the update are decoded aside; `flush` ends when they have been drawn.
      void this._display.flush().then(() => this.dispatchEvent(new CustomEvent("painted")));
    }
    return done;
  }

  /** Whether the desktop has the size of its layer, or cannot be given it. */
  get fits(): boolean {
    const box = this._screen.getBoundingClientRect();
    const same = this._fbWidth === Math.floor(box.width) && this._fbHeight === Math.floor(box.height);
    return same || !this._supportsSetDesktopSize;
  }

  get canvas(): HTMLCanvasElement {
    return this._canvas;
  }

  get screen(): HTMLElement {
    return this._screen;
  }
}

/** Why a stream could not be opened, by the gateway's close code (0 when there is none). */
export class StreamRefused extends Error {
  constructor(readonly code: number) {
    super(`the stream was closed with ${code}`);
  }
}

/** Open a stream into `target`. `onClose` is called once it has been open and is no longer. */
export async function openStream(
  target: HTMLElement,
  handle: Handle,
  onClose: (code: number) => void,
): Promise<PaintedRFB> {
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/desktop/stream`);
  socket.binaryType = "arraybuffer";
  const asked = api.ticket(handle); // while the socket opens
  asked.catch(() => socket.close());
  return new Promise<PaintedRFB>((resolve, reject) => {
    let rfb: PaintedRFB | null = null;
    const timer = setTimeout(() => socket.close(), OPEN_WAIT_MS);
    // Added before noVNC sets its own handler, hence called before it.
    socket.addEventListener("close", (event) => {
      clearTimeout(timer);
      if (rfb) onClose(event.code);
      else asked.then(() => reject(new StreamRefused(event.code)), reject);
    });
    socket.onopen = () => {
      asked.then(
        ({ ticket }) => socket.send(JSON.stringify({ ticket })),
        () => socket.close(),
      );
    };
    socket.onmessage = () => {
      // The gateway's one text message: we are let in, and RFB follows. noVNC takes the socket over before the next
      // message is dispatched.
      clearTimeout(timer);
      rfb = new PaintedRFB(target, socket);
      rfb.resizeSession = true;
      rfb.qualityLevel = QUALITY;
      rfb.compressionLevel = COMPRESSION;
      rfb.background = "transparent";
      resolve(rfb);
    };
  });
}
