// Builds the panel's bundle: `node build.mjs [outfile]`, by default the committed ../dist/index.umd.js.
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

const here = fileURLToPath(new URL(".", import.meta.url));
await esbuild.build({
  absWorkingDir: here, // so that the bundle does not depend on where the command was started
  entryPoints: ["src/index.tsx"],
  outfile: process.argv[2] ?? "../dist/index.umd.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2021",
  jsx: "transform",
  legalComments: "none",
  loader: { ".css": "text" },
  plugins: [reactOfTheApp],
  logLevel: "warning",
});
