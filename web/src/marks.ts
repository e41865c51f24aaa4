// Moments of opening a desktop, for `ghostdesk bench` and for whoever opens the browser's profiler.

export interface Marks {
  /** When the person pressed, by the event's own time. */
  press: number | null;
  /** When the frame that shows the desktop's layer had been made. */
  swapped: number | null;
  /** When the desktop's picture was in a frame that was made while its layer was shown. */
  firstFrame: number | null;
  /** Whether the layer had been painted before the press. */
  preconnected: boolean;
  /** When the server had confirmed the claim. */
  claimed: number | null;
  /** When the hidden layer was painted at the window's size; null while it is not. */
  prepainted: number | null;
}

declare global {
  interface Window {
    ghostdeskMarks: Marks;
  }
}

export const marks: Marks = {
  press: null,
  swapped: null,
  firstFrame: null,
  preconnected: false,
  claimed: null,
  prepainted: null,
};
window.ghostdeskMarks = marks;

const NAMES = {
  press: "ghostdesk:press",
  swapped: "ghostdesk:swapped",
  firstFrame: "ghostdesk:first-frame",
  claimed: "ghostdesk:claimed",
  prepainted: "ghostdesk:prepainted",
} as const;

export function mark(what: keyof typeof NAMES, time = performance.now()): void {
  marks[what] = time;
  performance.mark(NAMES[what], { startTime: time });
}

export function startMarks(pressTime: number, preconnected: boolean): void {
  for (const [what, name] of Object.entries(NAMES)) {
    if (what === "prepainted") continue;
    marks[what as keyof typeof NAMES] = null;
    performance.clearMarks(name);
  }
  marks.preconnected = preconnected;
  mark("press", pressTime);
}

/** Runs `then` just after the next frame has been handed to the compositor. */
export function afterFrame(then: () => void): void {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(null);
  });
}
