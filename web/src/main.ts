// The page: which view is shown, and what its buttons do.
import { api, ApiError, asApiError, type App, type Me } from "./api";
import { AppMenu, renderTiles } from "./apps";
import { Bar } from "./bar";
import { Clipboard } from "./clipboard";
import { Desktop } from "./desktop";
import { byId, say } from "./dom";
import { Notices } from "./events";
import { ModeBar } from "./mode_bar";
import type { MyDataView } from "./my/view";
import { StatusView } from "./status";

type View = "loading" | "sign-in" | "switch" | "home" | "ended" | "status" | "my-data" | "desktop";

const APPS_EVERY_MS = 15_000;
const MY_DATA = "#my-data";

class Page {
  private me: Me | null = null;
  private view: View = "loading";
  private error = "";
  private toastTimer = 0;
  private readonly statusView = new StatusView();
  private readonly modeBar = new ModeBar(() => this.signedOut());
  private myDataView: Promise<MyDataView> | null = null;
  private readonly notices = new Notices(
    (notice) => {
      if (notice.kind === "message") this.message(notice.text);
      this.desktop.notice(notice);
      if (notice.kind === "prepared") void this.loadApps();
    },
    () => this.signedOut(),
  );
  private readonly desktop = new Desktop(byId("layers"), preconnectWanted(), {
    swap: (shown) => this.show(shown ? "desktop" : "home"),
    changed: () => this.render(),
    failed: (problem) => {
      this.error = `Your desktop could not be opened. ${problem.text}`;
      this.render();
    },
    ended: (why) => {
      byId("ended-why").textContent = why;
      this.show("ended");
      byId("open-new").focus();
    },
    signedOut: () => this.signedOut(),
    clipboard: (text) => this.clipboard.fromDesktop(text),
  });
  private readonly clipboard = new Clipboard((text) => {
    const client = this.desktop.client;
    client?.clipboardPasteFrom(text);
    return client !== null;
  });
  private readonly menu = new AppMenu((app) => {
    this.bar.close();
    void this.launch(app);
  });
  private readonly bar = new Bar(
    (name) => {
      if (name === "apps") {
        this.menu.opened();
        void this.loadApps();
      } else if (name === "mode") {
        void this.modeBar.load();
        byId("mode-list").querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
      } else byId("clipboard-text").focus();
    },
    () => this.desktop.focus(),
  );

  async start(): Promise<void> {
    this.wire();
    const token = tokenFrom(location.hash);
    if (token) history.replaceState(null, "", location.pathname + location.search); // keep it out of the history
    try {
      this.me = await api.me();
    } catch (problem) {
      const error = asApiError(problem);
      if (error.status !== 401) say(byId("sign-in-error"), error.text);
    }
    if (!token) this.enter();
    else if (this.me) this.offerSwitch(this.me, token);
    else await this.signIn(token);
  }

  private wire(): void {
    const click = (id: string, then: (event: MouseEvent) => void) => byId(id).addEventListener("click", then);
    click("open", (event) => void this.open(event.timeStamp));
    click("open-new", (event) => void this.open(event.timeStamp));
    click("ended-home", () => this.enter());
    click("sign-out", () => void this.signOut());
    click("theme", switchTheme);
    click("leave", () => this.desktop.hide());
    click("bar-my-data", () => {
      this.desktop.hide();
      if (location.hash === MY_DATA) this.enter();
      else location.hash = MY_DATA;
    });
    click("retry", () => this.desktop.retryNow());
    click("fullscreen", () => void toggleFullscreen().then(() => this.desktop.focus()));
    click("end", () => byId<HTMLDialogElement>("end-dialog").showModal());
    click("end-no", () => byId<HTMLDialogElement>("end-dialog").close());
    click("end-yes", () => void this.end());
    byId("end-dialog").addEventListener("close", () => this.desktop.focus());
    byId("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = byId<HTMLInputElement>("sign-in-link");
      const token = tokenFrom(field.value) ?? field.value.trim();
      field.value = "";
      if (token) void this.signIn(token);
      else field.focus();
    });
    addEventListener("hashchange", () => this.hashChanged());
    document.addEventListener("fullscreenchange", () => {
      byId("fullscreen").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
    });
    setInterval(() => {
      if (this.view === "home" && !document.hidden) void this.loadApps();
    }, APPS_EVERY_MS);
    setInterval(() => {
      if (this.view === "desktop" && this.desktop.state === "waiting") this.render();
    }, 500);
  }

  private show(view: View): void {
    this.view = view;
    document.body.dataset["view"] = view;
    this.statusView.show(view === "status");
    void this.showMyData(view === "my-data");
    if (view === "desktop") this.error = "";
    else this.bar.close();
    this.render();
  }

  /** Where a person belongs now: signed out, on the status view, or home. */
  private enter(): void {
    if (!this.me) {
      this.show("sign-in");
      return;
    }
    const me = this.me;
    byId("who").textContent = me.display_name || me.user;
    byId("greeting").textContent = `${greeting(new Date().getHours())}, ${me.display_name || me.user}`;
    byId("status-link").hidden = me.role !== "operator";
    this.notices.start();
    if (location.hash === "#status" && me.role === "operator") {
      this.show("status");
      return;
    }
    const view = location.hash === MY_DATA ? "my-data" : "home";
    this.show(view);
    if (view === "my-data") byId("my-title").focus({ preventScroll: true });
    else void this.modeBar.load(); // the view itself tells the bar its modes
    void import("./stream"); // ready before it is needed
    void this.desktop.prepare().then(() => this.loadApps());
  }

  /** The view is fetched when it is first wanted: the way to a desktop needs none of it. */
  private async showMyData(showing: boolean): Promise<void> {
    if (!showing && !this.myDataView) return;
    this.myDataView ??= import("./my/view").then(
      ({ MyDataView }) => new MyDataView(() => this.signedOut(), (data) => this.modeBar.set(data.modes)),
    );
    try {
      const view = await this.myDataView;
      if (showing === (this.view === "my-data")) view.show(showing);
    } catch {
      this.myDataView = null; // the next visit tries again
      this.error = "“My data” could not be loaded. Check your connection, and load the page again.";
      this.show("home");
    }
  }

  private hashChanged(): void {
    const token = tokenFrom(location.hash);
    if (token) {
      history.replaceState(null, "", location.pathname + location.search);
      if (this.me) this.offerSwitch(this.me, token);
      else void this.signIn(token);
    } else if (this.me && this.view !== "desktop") this.enter();
  }

  private offerSwitch(me: Me, token: string): void {
    byId("switch-who").textContent = me.display_name || me.user;
    byId("switch-yes").onclick = () => {
      this.desktop.drop();
      void this.signIn(token);
    };
    byId("switch-no").onclick = () => this.enter();
    this.show("switch");
  }

  private async signIn(token: string): Promise<void> {
    try {
      this.me = await api.signIn(token);
      say(byId("sign-in-error"), "");
      this.enter();
    } catch (problem) {
      this.me = null;
      this.show("sign-in");
      say(byId("sign-in-error"), asApiError(problem).text);
      byId("sign-in-link").focus();
    }
  }

  private async signOut(): Promise<void> {
    try {
      await api.signOut();
    } catch (problem) {
      this.error = asApiError(problem).text;
      this.render();
      return;
    }
    this.signedOut("");
  }

  private signedOut(why = "Your session has ended. Sign in with a new link."): void {
    if (!this.me) return;
    this.me = null;
    this.notices.stop();
    this.modeBar.set([]);
    this.desktop.drop();
    this.desktop.shown = false;
    byId("layers").inert = true;
    say(byId("sign-in-error"), why);
    this.show("sign-in");
  }

  private async open(pressTime: number): Promise<boolean> {
    this.error = "";
    return this.desktop.open(pressTime);
  }

  private async launch(app: App, pressTime = performance.now()): Promise<void> {
    if (!this.desktop.shown && !(await this.open(pressTime))) return;
    this.desktop.focus();
    try {
      await api.launch(app.app);
    } catch (problem) {
      this.toast(`${app.name} could not be started. ${asApiError(problem).text}`);
    }
    void this.loadApps();
  }

  private async end(): Promise<void> {
    byId<HTMLDialogElement>("end-dialog").close();
    try {
      await this.desktop.end();
    } catch (problem) {
      this.toast(`Your desktop could not be ended. ${asApiError(problem).text}`);
    }
  }

  private async loadApps(): Promise<void> {
    if (!this.me) return;
    let apps: App[];
    try {
      apps = await api.apps();
    } catch (problem) {
      if (problem instanceof ApiError && problem.status === 401) this.signedOut();
      return; // the list that is shown still holds; the next round brings a newer one
    }
    this.menu.set(apps);
    byId("home-apps").hidden = apps.length === 0;
    if (!byId("tiles").matches(":focus-within")) {
      renderTiles(byId("tiles"), apps, (app, time) => void this.launch(app, time));
    }
  }

  private message(text: string): void {
    if (this.view === "desktop") this.toast(text);
    else say(byId("home-message"), text);
  }

  private toast(text: string): void {
    say(byId("toast"), text);
    clearTimeout(this.toastTimer);
    this.toastTimer = window.setTimeout(() => say(byId("toast"), ""), 8000);
  }

  private render(): void {
    byId("door-nav").hidden = this.me === null;
    say(byId("home-error"), this.error);
    this.renderReady();
    this.renderLine();
  }

  private renderReady(): void {
    const { handle, state, painted, opening } = this.desktop;
    byId<HTMLButtonElement>("open").disabled = opening;
    byId("open-text").textContent = handle?.active ? "Return to your desktop" : "Open desktop";
    const ahead = handle === null || handle.active || this.desktop.connectsAhead;
    const ready = handle !== null && (!ahead || (state === "live" && painted));
    byId("ready-dot").className = `dot ${ready ? "dot-good" : "dot-idle"}`;
    byId("ready-text").textContent = handle
      ? [
          handle.active ? "Your desktop is open." : ready ? "Your desktop is ready." : "Your desktop is being prepared.",
          handle.preconnect || handle.active ? "" : "Your line is slow: the picture comes when you open it.",
          handle.reason,
        ]
          .filter(Boolean)
          .join(" ")
      : "A desktop is made when you open it.";
  }

  private renderLine(): void {
    const { state, painted, opening } = this.desktop;
    const live = state === "live" && painted;
    const waiting = this.view === "desktop" && !live && (opening || state !== "none");
    const lost = state === "waiting" || (state === "connecting" && byId("layers").querySelector(".still") !== null);
    const wait_s = Math.ceil(this.desktop.retryInMs / 1000);
    const text = live
      ? opening
        ? "Claiming…"
        : "Connected"
      : lost
        ? wait_s > 1
          ? `Connection lost: again in ${wait_s} s`
          : "Connection lost: reconnecting…"
        : "Opening…";
    byId("line-text").textContent = text;
    byId("line-dot").className = `dot ${live ? "dot-good" : "dot-bad"}`;
    byId("retry").hidden = state !== "waiting";
    byId("waiting").hidden = !waiting;
    byId("waiting-text").textContent = lost ? text : "Opening your desktop…";
    this.bar.pin(this.view === "desktop" && lost);
  }
}

function tokenFrom(text: string): string | null {
  return /#sign-in=([A-Za-z0-9_-]{20,128})\s*$/.exec(text)?.[1] ?? null;
}

function preconnectWanted(): boolean {
  const line = (navigator as { connection?: { saveData?: boolean } }).connection;
  return new URLSearchParams(location.search).get("preconnect") !== "off" && line?.saveData !== true;
}

function greeting(hour: number): string {
  if (hour < 5) return "Hello";
  return hour < 12 ? "Good morning" : hour < 18 ? "Good afternoon" : "Good evening";
}

async function toggleFullscreen(): Promise<void> {
  if (document.fullscreenElement) {
    await document.exitFullscreen();
    return;
  }
  await document.documentElement.requestFullscreen();
  // Where the browser can, Alt+Tab, Escape and the like then reach the desktop.
  const keyboard = (navigator as { keyboard?: { lock?: () => Promise<void> } }).keyboard;
  await keyboard?.lock?.().catch(() => undefined);
}

const THEME = "ghostdesk.theme";

function applyTheme(): void {
  const theme = localStorage.getItem(THEME);
  if (theme === "dark" || theme === "light") document.documentElement.dataset["theme"] = theme;
}

function switchTheme(): void {
  const dark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
  localStorage.setItem(THEME, dark ? "light" : "dark");
  applyTheme();
}

applyTheme();
void new Page().start();
