// What we use of noVNC 1.7.0, which ships no types. Members with an underscore are its own; the version is pinned
// exactly in package.json, and the acceptance tests fail if they change.
declare module "@novnc/novnc" {
  export interface Display {
    flush(): Promise<void>;
  }

  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, channel: WebSocket | string, options?: { shared?: boolean });
    viewOnly: boolean;
    resizeSession: boolean;
    scaleViewport: boolean;
    clipViewport: boolean;
    showDotCursor: boolean;
    qualityLevel: number;
    compressionLevel: number;
    background: string;
    disconnect(): void;
    focus(options?: FocusOptions): void;
    blur(): void;
    clipboardPasteFrom(text: string): void;
    sendKey(keysym: number, code: string, down?: boolean): void;
    protected _display: Display;
    protected _keyboard: { _allKeysUp(): void };
    protected _fbWidth: number;
    protected _fbHeight: number;
    protected _screen: HTMLDivElement;
    protected _canvas: HTMLCanvasElement;
    protected _supportsSetDesktopSize: boolean;
    protected _handleDataRect(): boolean;
    protected _framebufferUpdate(): boolean;
  }
}
