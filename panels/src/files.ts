/** Files that the browser saves. */
import { type Palette, paintTree } from "./draw";
import type { Shown } from "./model/exports";
import { shorten } from "./model/tree";
import type { Viewport } from "./model/viewport";

export const fileName = (title: string): string =>
  shorten(title, 60)
    .replace(/[^\p{L}\p{N}._-]+/gu, "_")
    .replace(/^[_.]+|_+$/g, "") || "tree";

export function download(content: string | Blob, name: string): void {
  const url = URL.createObjectURL(new Blob([content]));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const MARGIN = 12;
const HEADING_HEIGHT = 30;

/** Both trees as they are on screen, in one picture of twice the density. */
export function picture(
  title: string,
  shown: readonly Shown[],
  view: Viewport,
  width: number,
  rowHeight: number,
  palette: Palette,
  done: (blob: Blob) => void,
): void {
  const height =
    28 + shown.reduce((sum, { rows }) => sum + HEADING_HEIGHT + rows.length * rowHeight, 0);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * (width + 2 * MARGIN), 2 * (height + MARGIN)];
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(2, 2);
  context.fillStyle = palette.background;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.translate(MARGIN, 0);
  const write = (text: string, y: number) => {
    context.font = "bold 12px system-ui, sans-serif";
    context.textBaseline = "alphabetic";
    context.fillStyle = palette.text;
    context.fillText(text, 0, y);
  };
  write(shorten(title, 120), 18);
  let top = 28;
  for (const { tree, rows, colours } of shown) {
    write(tree.label, top + 19);
    context.save();
    context.translate(0, top + HEADING_HEIGHT);
    context.beginPath();
    context.rect(0, 0, width, rows.length * rowHeight);
    context.clip();
    paintTree(context, { rows, rowHeight, width, colours, palette, hits: null }, view);
    context.restore();
    top += HEADING_HEIGHT + rows.length * rowHeight;
  }
  canvas.toBlob((blob) => blob && done(blob));
}
