/** Painting trees, rulers and what is brought out in them on canvases. */
import type { Colours } from "./model/colours";
import type { Row } from "./model/filters";
import { slicesOf } from "./model/layout";
import { captionOf, firstIndex, type Line, shorten, type TreeNode } from "./model/tree";
import { spanOf, ticks, type Viewport, xOf } from "./model/viewport";

/** The theme's colours, as canvases need them. */
export interface Palette {
  /** For the small print of canvases. */
  readonly font: string;
  readonly text: string;
  readonly quietText: string;
  readonly background: string;
  readonly divider: string;
  readonly primary: string;
  readonly barText: string;
  readonly ring: string;
  readonly glow: string;
  readonly match: string;
  readonly hit: string;
  readonly flag: string;
}

/** Read the palette off an element of the panel; it changes with the App's theme. */
export function paletteOf(element: Element): Palette {
  const style = getComputedStyle(element);
  const value = (name: string) => style.getPropertyValue(name).trim();
  return {
    font: `11px ${style.fontFamily}`,
    text: value("--fo-palette-text-primary"),
    quietText: value("--fo-palette-text-secondary"),
    background: value("--fo-palette-background-level2"),
    divider: value("--fo-palette-divider"),
    primary: value("--fo-palette-primary-main"),
    barText: value("--bar-text"),
    ring: value("--ring"),
    glow: value("--glow"),
    match: value("--match"),
    hit: value("--hit"),
    flag: value("--flag"),
  };
}

/** Size a canvas for the screen's density and give its context, cleared, in CSS pixels. */
export function prepare(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): CanvasRenderingContext2D | null {
  const density = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext("2d");
  context?.setTransform(density, 0, 0, density, 0, 0);
  context?.clearRect(0, 0, width, height);
  return context;
}

/** Bars from this width (pixels) on show their caption. */
const LABEL_WIDTH = 26;
const LABEL_MARGIN = 5;

export interface Scene {
  readonly rows: readonly Row[];
  readonly rowHeight: number;
  readonly width: number;
  readonly colours: Colours;
  readonly palette: Palette;
  /** The nodes that a search has found; null where none is under way. */
  readonly hits: ReadonlySet<TreeNode> | null;
}

export function paintTree(context: CanvasRenderingContext2D, scene: Scene, view: Viewport): void {
  const { rows, rowHeight, width, colours, palette, hits } = scene;
  context.font = palette.font;
  context.textBaseline = "middle";
  context.textAlign = "left";
  rows.forEach((row, index) => {
    const top = index * rowHeight;
    for (const { node, x, width: w } of slicesOf(row, view, width)) {
      const drawn = w > 4 ? w - 1 : w; // a pixel between neighbours, where there is room for one
      const found = !hits || hits.has(node);
      context.globalAlpha = found ? 1 : 0.3;
      context.fillStyle = colours.of(node);
      context.fillRect(x, top, drawn, rowHeight - 1);
      const left = Math.max(x, 0) + LABEL_MARGIN;
      const room = Math.min(x + drawn, width) - left - 3;
      if (room >= LABEL_WIDTH - LABEL_MARGIN) {
        context.fillStyle = palette.barText;
        context.globalAlpha = found ? 1 : 0.45;
        context.fillText(fitted(context, captionOf(node), room), left, top + rowHeight / 2);
      }
    }
    context.globalAlpha = 1;
    // Slices stand for many nodes, so what must not be lost among them is drawn by itself.
    for (let i = 0; i < row.nodes.length; i++) {
      const node = row.nodes[i]!;
      const found = hits?.has(node);
      if ((!found && !node.review) || node.end <= view.from || node.start >= view.to) continue;
      const x = Math.max(xOf(node.start, view, width), -4);
      const w = Math.max(Math.min(xOf(node.end, view, width), width + 4) - x - 1, 2);
      if (found) outline(context, x, top, w, rowHeight - 1, palette.hit, 1.5);
      if (node.review) paintFlag(context, Math.max(x, 0), top, palette.flag);
    }
  });
}

/** A corner that is turned down. */
function paintFlag(context: CanvasRenderingContext2D, x: number, y: number, colour: string): void {
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + 7, y);
  context.lineTo(x, y + 7);
  context.fill();
}

/** What is brought out in a tree, over its bars. */
export interface Highlights {
  readonly path: readonly TreeNode[];
  readonly selected: TreeNode | null;
  readonly hovered: TreeNode | null;
  readonly matched: TreeNode | null;
}

export function paintHighlights(
  context: CanvasRenderingContext2D,
  { rows, rowHeight, width, palette }: Omit<Scene, "colours" | "hits">,
  { path, selected, hovered, matched }: Highlights,
  view: Viewport,
): void {
  const box = (node: TreeNode, draw: (x: number, y: number, w: number, h: number) => void) => {
    const row = rows.findIndex(({ level }) => level === null || level === node.level);
    if (row < 0 || !isIn(rows[row]!, node)) return;
    const x = Math.max(xOf(node.start, view, width), -4);
    const right = Math.min(xOf(node.end, view, width), width + 4);
    if (right < 0 || x > width) return;
    draw(x, row * rowHeight, Math.max(right - x - 1, 3), rowHeight - 1);
  };
  for (const node of path) {
    box(node, (x, y, w, h) => {
      context.fillStyle = palette.glow;
      context.fillRect(x, y, w, h);
      outline(context, x, y, w, h, palette.ring, 1);
    });
  }
  if (hovered) {
    box(hovered, (x, y, w, h) => {
      context.fillStyle = palette.glow;
      context.fillRect(x, y, w, h);
    });
  }
  if (matched) {
    box(matched, (x, y, w, h) => {
      context.setLineDash([4, 3]);
      outline(context, x, y, w, h, palette.match, 2);
      context.setLineDash([]);
    });
  }
  if (selected) box(selected, (x, y, w, h) => outline(context, x, y, w, h, palette.primary, 2));
}

function isIn({ nodes }: Row, node: TreeNode): boolean {
  for (
    let i = firstIndex(nodes, (n) => n.start >= node.start);
    nodes[i]?.start === node.start;
    i++
  ) {
    if (nodes[i] === node) return true;
  }
  return false;
}

function outline(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  w: number,
  h: number,
  colour: string,
  line: number,
): void {
  context.strokeStyle = colour;
  context.lineWidth = line;
  context.strokeRect(x + line / 2, y + line / 2, Math.max(w - line, 0.5), Math.max(h - line, 0.5));
}

export function paintRuler(
  context: CanvasRenderingContext2D,
  palette: Palette,
  view: Viewport,
  width: number,
  height: number,
): void {
  context.font = palette.font;
  context.textBaseline = "alphabetic";
  context.fillStyle = palette.quietText;
  for (const { time, label } of ticks(view, width)) {
    const x = Math.round(xOf(time, view, width));
    context.fillRect(x, height - 15, 1, 15);
    if (x + 4 + widthOf(context, label) < width) context.fillText(label, x + 4, height - 4);
  }
}

/** The transcript's lines under the ruler; those that have no room for words are bars. */
export function paintTranscript(
  context: CanvasRenderingContext2D,
  palette: Palette,
  lines: readonly Line[],
  hits: ReadonlySet<Line>,
  view: Viewport,
  width: number,
  height: number,
): void {
  context.font = palette.font;
  context.textBaseline = "middle";
  let drawnUntil = -1;
  for (const line of lines) {
    if (line.end <= view.from || line.start >= view.to) continue;
    const x = Math.max(xOf(line.start, view, width), 0);
    const right = Math.min(xOf(line.end, view, width), width);
    if (right < drawnUntil + 1 && !hits.has(line)) continue; // its pixel has been drawn
    drawnUntil = right;
    const w = Math.max(right - x - 1, 1);
    context.fillStyle = palette.glow;
    context.fillRect(x, 1, w, height - 3);
    if (hits.has(line)) outline(context, x, 1, Math.max(w, 2), height - 3, palette.hit, 1.5);
    if (w > LABEL_WIDTH) {
      context.fillStyle = palette.text;
      context.fillText(fitted(context, line.text, w - 8), x + 4, height / 2);
    }
  }
}

/** All of the axis in small, both trees, and a frame around what is on screen. */
export function paintMinimap(
  context: CanvasRenderingContext2D,
  palette: Palette,
  trees: readonly { readonly rows: readonly Row[]; readonly colours: Colours }[],
  view: Viewport,
  end: number,
  width: number,
  height: number,
): void {
  const all = { from: 0, to: end };
  const rows = trees.flatMap(({ rows, colours }) => rows.map((row) => ({ row, colours })));
  const step = height / Math.max(rows.length, 1);
  rows.forEach(({ row, colours }, index) => {
    for (const { node, x, width: w } of slicesOf(row, all, width)) {
      context.fillStyle = colours.of(node);
      context.fillRect(x, index * step, w > 3 ? w - 0.5 : w, Math.max(step - 0.25, 0.75));
    }
  });
  if (spanOf(view) >= end * 0.999) return;
  const [left, right] = [xOf(view.from, all, width), xOf(view.to, all, width)];
  context.globalAlpha = 0.65;
  context.fillStyle = palette.background;
  context.fillRect(0, 0, left, height);
  context.fillRect(right, 0, width - right, height);
  context.globalAlpha = 1;
  outline(context, left, 0, Math.max(right - left, 3), height, palette.text, 1.5);
}

// -- text that fits --------------------------------------------------------------------------

/** Of a caption, which can be of thousands of characters, no more than any screen has room for. */
const LONGEST_LABEL = 240;
const widths = new Map<string, number>();
const labels = new Map<string, string>();
const CACHED = 20_000;

function widthOf(context: CanvasRenderingContext2D, text: string): number {
  const known = widths.get(text);
  if (known !== undefined) return known;
  if (widths.size > CACHED) widths.clear();
  const { width } = context.measureText(text);
  widths.set(text, width);
  return width;
}

/** As much of a text as there is room for, with an ellipsis where that is not all. */
export function fitted(context: CanvasRenderingContext2D, text: string, room: number): string {
  const line = labels.get(text) ?? remember(text, shorten(text, LONGEST_LABEL));
  const full = widthOf(context, line);
  if (full <= room) return line;
  const characters = [...line];
  let kept = Math.floor((characters.length * room) / full);
  while (kept > 0 && context.measureText(`${characters.slice(0, kept).join("")}…`).width > room) {
    kept -= 1;
  }
  return kept > 0 ? `${characters.slice(0, kept).join("")}…` : "";
}

function remember(text: string, line: string): string {
  if (labels.size > CACHED) labels.clear();
  labels.set(text, line);
  return line;
}
