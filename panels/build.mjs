// Builds the panel's bundle: `node build.mjs [outfile]`, by default the committed ../dist/index.umd.js.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

// The App already runs React and shares it as a global; a second copy could not use its hooks.
const reactOfTheApp = {
  name: "react-of-the-app",
  setup(build) {
    build.onResolve({ filter: /^react$/ }, ({ path }) => ({ path, namespace: "global" }));
    build.onLoad({ filter: /.*/, namespace: "global" }, () => ({
      contents: "module.exports = window.React;",
    }));
  },
};

// A bundle is one file, so the panel puts its style sheet on the page itself, as text.
const styleAsText = {
  name: "style-as-text",
  setup(build) {
    build.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const { code } = await esbuild.transform(source, { loader: "css", minify: true });
      return { contents: code, loader: "text" };
    });
  },
};

const here = fileURLToPath(new URL(".", import.meta.url));
// Its license wants to go where the code goes.
const license = await readFile(new URL("node_modules/diff/LICENSE", import.meta.url), "utf8");
await esbuild.build({
  absWorkingDir: here, // so that the bundle does not depend on where the command was started
  entryPoints: ["src/index.tsx"],
  outfile: process.argv[2] ?? "../dist/index.umd.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  jsx: "transform",
  legalComments: "none",
  banner: { js: `/*! Contains the library "diff".\n${license}*/` },
  plugins: [reactOfTheApp, styleAsText],
  logLevel: "warning",
});
