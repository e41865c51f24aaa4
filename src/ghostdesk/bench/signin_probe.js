// Put into the page by `ghostdesk bench signin`: samples the desktop's canvas in every frame, and notes when keys are
// pressed. It knows the page by its front layer alone, and uses none of the page's own marks.
(() => {
  const COLUMNS = 80, ROWS = 50, MOST_FRAMES = 2000;
  const small = document.createElement("canvas");
  small.width = COLUMNS;
  small.height = ROWS;
  const context = small.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  const probe = { frames: [], keys: [], changed_ms: performance.now(), full: false };
  window.ghostdeskProbe = probe;

  const sample = () => {
    const canvas = document.querySelector("#layers canvas");
    if (document.body?.dataset.view !== "desktop" || !canvas?.width || !canvas.height) return null;
    context.drawImage(canvas, 0, 0, COLUMNS, ROWS);
    return new Uint32Array(context.getImageData(0, 0, COLUMNS, ROWS).data.buffer);
  };
  const differs = (a, b) => {
    for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return true;
    return false;
  };
  const keep = (cells, time_ms) => {
    const last = probe.frames[probe.frames.length - 1];
    if (last && !differs(last.cells, cells)) return;
    if (probe.frames.length >= MOST_FRAMES) {
      probe.full = true;
      return;
    }
    probe.frames.push({ time_ms, cells });
    probe.changed_ms = time_ms;
  };
  const frame = () => {
    requestAnimationFrame(frame);
    const cells = sample();
    if (!cells) return;
    // The message is delivered once this frame has been made: what was sampled is then on its way to the screen.
    const channel = new MessageChannel();
    channel.port1.onmessage = () => keep(cells, performance.now());
    channel.port2.postMessage(null);
  };
  requestAnimationFrame(frame);
  addEventListener("keydown", (event) => probe.keys.push({ key: event.key, time_ms: event.timeStamp }), true);

  const text = (cells) => {
    const bytes = new Uint8Array(cells.buffer);
    let out = "";
    for (let i = 0; i < bytes.length; i += 4096) out += String.fromCharCode(...bytes.subarray(i, i + 4096));
    return btoa(out);
  };
  probe.quiet = (quiet_ms) => probe.frames.length > 0 && performance.now() - probe.changed_ms >= quiet_ms;
  probe.read = () => ({
    full: probe.full,
    keys: probe.keys,
    frames: probe.frames.map((each) => ({ time_ms: each.time_ms, cells: text(each.cells) })),
  });
})();
