/** The trees as they are shown, as files that other programs read. */
import type { Colours } from "./colours";
import type { Row } from "./filters";
import { slicesOf } from "./layout";
import { captionOf, type CaptionTree, formatTime, shorten, type TreeNode } from "./tree";
import { ticks, type Viewport, xOf } from "./viewport";

export interface Shown {
  readonly tree: CaptionTree;
  readonly rows: readonly Row[];
  readonly colours: Colours;
}

/** The nodes that pass the filters and are at least partly on screen, parents before children. */
export function visibleNodes({ rows }: Pick<Shown, "rows">, view: Viewport): TreeNode[] {
  return rows
    .flatMap(({ nodes }) => nodes)
    .filter((node) => node.start < view.to && node.end > view.from)
    .sort((a, b) => a.start - b.start || a.level - b.level);
}

export function toJson(title: string, shown: readonly Shown[], view: Viewport): string {
  const trees = shown.map((each) => ({
    name: each.tree.name,
    label: each.tree.label,
    nodes: visibleNodes(each, view),
  }));
  return `${JSON.stringify({ title, from: view.from, to: view.to, trees }, null, 1)}\n`;
}

export function toMarkdown(title: string, shown: readonly Shown[], view: Viewport): string {
  const lines = [`# ${plain(title)}`, ""];
  for (const each of shown) {
    lines.push(`## ${plain(each.tree.label)}`, "");
    for (const node of visibleNodes(each, view)) {
      const indent = "  ".repeat(node.level);
      const times = `${formatTime(node.start, 2)}–${formatTime(node.end, 2)}`;
      lines.push(`${indent}- ${times} ${plain(captionOf(node))}`);
    }
    lines.push("");
  }
  return lines.join("\n");
}

/** One line in which Markdown finds no markup. */
const plain = (text: string): string =>
  text
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .replace(/[\\`*_[\]<>#|~]/g, "\\$&");

const [SVG_WIDTH, SVG_ROW, SVG_HEADING, SVG_RULER] = [1400, 22, 26, 24];

export interface Paper {
  readonly background: string;
  readonly text: string;
  readonly barText: string;
}

export function toSvg(
  title: string,
  shown: readonly Shown[],
  view: Viewport,
  paper: Paper,
): string {
  const parts: string[] = [];
  const text = (x: number, y: number, words: string, colour: string, more = "") =>
    parts.push(
      `<text x="${x.toFixed(1)}" y="${y}" fill="${xml(colour)}"${more}>${xml(words)}</text>`,
    );
  let top = SVG_HEADING + SVG_RULER;
  text(0, 18, shorten(title, 160), paper.text, ' font-weight="bold"');
  for (const { time, label } of ticks(view, SVG_WIDTH)) {
    text(xOf(time, view, SVG_WIDTH), top - 8, label, paper.text);
  }
  for (const { tree, rows, colours } of shown) {
    text(0, top + 17, tree.label, paper.text, ' font-weight="bold"');
    top += SVG_HEADING;
    for (const row of rows) {
      for (const { node, x, width } of slicesOf(row, view, SVG_WIDTH)) {
        const left = Math.max(x, 0);
        const w = Math.max(Math.min(x + width, SVG_WIDTH) - left - (width > 4 ? 1 : 0), 0.5);
        parts.push(
          `<rect x="${left.toFixed(1)}" y="${top}" width="${w.toFixed(1)}" height="${SVG_ROW - 1}" ` +
            `fill="${xml(colours.of(node))}"><title>${xml(captionOf(node))}</title></rect>`,
        );
        const characters = Math.floor((w - 10) / 6.2);
        if (characters > 2) {
          text(left + 5, top + 15, shorten(captionOf(node), characters), paper.barText);
        }
      }
      top += SVG_ROW;
    }
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -4 ${SVG_WIDTH + 24} ${top + 16}" ` +
      `width="${SVG_WIDTH + 24}" height="${top + 16}" font-family="system-ui, sans-serif" font-size="11">`,
    `<rect x="-12" y="-4" width="100%" height="100%" fill="${xml(paper.background)}"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/** Text for XML, without the characters that XML cannot hold at all. */
const xml = (text: string): string =>
  text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
    .replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);
