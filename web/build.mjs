// Builds the page into src/ghostdesk/server/static. Names in assets/ carry a hash of their content, so that browsers
// may keep them for ever.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(here, "../src/ghostdesk/server/static");

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const result = await build({
  absWorkingDir: here,
  entryPoints: { main: "src/main.ts", style: "style.css" },
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  outdir: path.join(out, "assets"),
  metafile: true,
  logLevel: "warning",
});

const built = (source) => {
  for (const [file, info] of Object.entries(result.metafile.outputs)) {
    if (info.entryPoint === source) return path.posix.join("/assets", path.basename(file));
  }
  throw new Error(`${source} was not built`);
};
const page = (await readFile(path.join(here, "index.html"), "utf8"))
  .replace("{{main}}", built("src/main.ts"))
  .replace("{{style}}", built("style.css"));
await writeFile(path.join(out, "index.html"), page);
await copyFile(path.join(here, "favicon.svg"), path.join(out, "favicon.svg"));

const bytes = Object.values(result.metafile.outputs).reduce((sum, info) => sum + info.bytes, 0);
console.log(`page built: ${Math.round(bytes / 1024)} KiB`);
