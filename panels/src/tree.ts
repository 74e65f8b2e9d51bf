/**
 * Everything about trees that can be computed without a screen: reading them, placing bars on a
 * time axis, moving from node to node, and turning times into frames and text.
 *
 * Times are seconds from the start of the video; frames count from 1, as in FiftyOne.
 */

export interface TreeNode {
  readonly node_id: string;
  readonly parent_id: string | null;
  readonly level: number;
  readonly start: number;
  readonly end: number;
  readonly plm_action: string | null;
  readonly plm_caption: string | null;
  readonly llama3_caption: string | null;
  readonly gpt: Refined | null;
}

export interface Refined {
  readonly summary: { readonly brief: string | null; readonly detailed: string | null };
  readonly action: {
    readonly brief: string | null;
    readonly detailed: string | null;
    readonly actor: string | null;
  };
}

/** A tree with the look-ups that drawing and moving need. */
export interface CaptionTree {
  readonly name: string;
  readonly label: string;
  readonly fromLabels: boolean;
  readonly byId: ReadonlyMap<string, TreeNode>;
  readonly children: ReadonlyMap<string, readonly TreeNode[]>;
  /** The nodes of each level in order of time. */
  readonly levels: readonly (readonly TreeNode[])[];
  readonly end: number;
}

export interface Video {
  readonly title: string;
  readonly fps: number;
  readonly frames: number;
  /** Seconds of the video file, which can be a clip that ends long before the trees do. */
  readonly duration: number;
  readonly trees: readonly CaptionTree[];
}

// -- reading what Python sent ----------------------------------------------------------------

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null ? (value as Fields) : {};
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const textOf = (value: unknown): string | null =>
  typeof value === "string" && value.trim() !== "" ? value : null;
const numberOf = (value: unknown): number => (typeof value === "number" ? value : Number.NaN);

/** The panel's data out of the answer of Python's `get_trees`, or a sentence that says why not. */
export function readVideo(answer: unknown): Video | { readonly error: string } {
  const fields = fieldsOf(answer);
  const error = textOf(fields.error);
  if (error) return { error };
  const [fps, frames, duration] = [fields.fps, fields.frames, fields.duration].map(numberOf);
  if (!(fps! > 0) || !(frames! > 0) || !(duration! > 0)) {
    return { error: "The answer from Python lacks the video's frame rate or length." };
  }
  return {
    title: textOf(fields.title) ?? "",
    fps: fps!,
    frames: frames!,
    duration: duration!,
    trees: listOf(fields.trees)
      .map(readTree)
      .filter((tree) => tree.byId.size > 0),
  };
}

function readTree(value: unknown): CaptionTree {
  const fields = fieldsOf(value);
  const nodes = listOf(fields.nodes).map(readNode).filter(isPlaceable);
  const children = new Map<string, TreeNode[]>();
  const levels: TreeNode[][] = [];
  for (const node of nodes.sort((a, b) => a.level - b.level || a.start - b.start)) {
    while (levels.length <= node.level) levels.push([]);
    levels[node.level]!.push(node);
    if (node.parent_id !== null) {
      const siblings = children.get(node.parent_id);
      if (siblings) siblings.push(node);
      else children.set(node.parent_id, [node]);
    }
  }
  const name = textOf(fields.name) ?? "";
  return {
    name,
    label: textOf(fields.label) ?? name,
    fromLabels: fields.source === "labels",
    byId: new Map(nodes.map((node) => [node.node_id, node])),
    children,
    levels,
    end: nodes.reduce((end, node) => Math.max(end, node.end), 0),
  };
}

function readNode(value: unknown): TreeNode {
  const fields = fieldsOf(value);
  const gpt = fieldsOf(fields.gpt);
  const [summary, action] = [fieldsOf(gpt.summary), fieldsOf(gpt.action)];
  return {
    node_id: textOf(fields.node_id) ?? "",
    parent_id: textOf(fields.parent_id),
    level: numberOf(fields.level),
    start: numberOf(fields.start),
    end: numberOf(fields.end),
    plm_action: textOf(fields.plm_action),
    plm_caption: textOf(fields.plm_caption),
    llama3_caption: textOf(fields.llama3_caption),
    gpt: fields.gpt
      ? {
          summary: { brief: textOf(summary.brief), detailed: textOf(summary.detailed) },
          action: {
            brief: textOf(action.brief),
            detailed: textOf(action.detailed),
            actor: textOf(action.actor),
          },
        }
      : null,
  };
}

/** Whether a node can be drawn at all; the bound on levels keeps one wrong number from filling memory. */
function isPlaceable(node: TreeNode): boolean {
  return (
    node.node_id !== "" &&
    Number.isInteger(node.level) &&
    node.level >= 0 &&
    node.level < 200 &&
    node.end > node.start
  );
}

// -- frames and times ------------------------------------------------------------------------

/** The frame that shows `time`, within the video. */
export function frameAt(time: number, video: Pick<Video, "fps" | "frames">): number {
  return Math.min(Math.max(Math.round(time * video.fps) + 1, 1), video.frames);
}

/** The time at which a frame begins. */
export function timeOf(frame: number, fps: number): number {
  return (frame - 1) / fps;
}

/**
 * The nodes from the root to a leaf that contain a frame.
 *
 * Compares frames and not times: times are rounded to hundredths of a second, so a node's first
 * frame can begin a few milliseconds before the node does.
 */
export function pathAt(tree: CaptionTree, frame: number, fps: number): TreeNode[] {
  return tree.levels.flatMap((nodes) =>
    nodes.filter(
      (node) => Math.round(node.start * fps) + 1 <= frame && frame <= Math.round(node.end * fps),
    ),
  );
}

/** "1:05", "1:02:03"; with `digits` decimals of a second. */
export function formatTime(time: number, digits = 0): string {
  const units = 10 ** digits;
  const total = Math.round(time * units);
  const minutes = Math.floor(total / (60 * units));
  const seconds = ((total % (60 * units)) / units).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return minutes < 60
    ? `${minutes}:${seconds}`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${seconds}`;
}

// -- the time axis ---------------------------------------------------------------------------

const TICK_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];

/** Round times along an axis of `span` seconds on `width` pixels, at least `gap` pixels apart. */
export function ticks(span: number, width: number, gap = 64): { time: number; label: string }[] {
  if (!(span > 0) || !(width > 0)) return [];
  const step = TICK_STEPS.find((s) => (s / span) * width >= gap) ?? Math.ceil(span / 7200) * 7200;
  const count = Math.floor(span / step + 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => ({
    time: i * step,
    label: formatTime(i * step, step < 1 ? 1 : 0),
  }));
}

/**
 * How many of a tree's nodes begin after the clip's end; 0 also where the tree ends with the clip.
 *
 * Trees count every fourth frame, so a tree of the clip itself can end up to three frames late.
 */
export function nodesBeyond(tree: CaptionTree, video: Pick<Video, "fps" | "duration">): number {
  if (!endsBeyond(tree.end, video)) return 0;
  return tree.levels.flat().filter((node) => node.start >= video.duration).length;
}

/** Whether a time lies after the clip's end by more than sampling explains. */
export function endsBeyond(end: number, video: Pick<Video, "fps" | "duration">): boolean {
  return end - video.duration > 4 / video.fps;
}

// -- bars ------------------------------------------------------------------------------------

export interface Bar {
  readonly node: TreeNode;
  /** Pixels. */
  readonly x: number;
  readonly width: number;
  /** Whether the node goes on after the end of the axis. */
  readonly cut: boolean;
}

/** Seconds that sampling every fourth frame can add to a clip's end, down to 20 frames a second. */
const SAMPLING_SLACK = 0.2;

/**
 * The bars of one level, from left to right, on an axis of `span` seconds and `width` pixels.
 *
 * Where nodes are narrower than a pixel, one bar stands for all that share the pixel, so there are
 * never more bars than pixels and no holes. `keep` names a node that is drawn in any case.
 */
export function barsOf(
  nodes: readonly TreeNode[],
  span: number,
  width: number,
  keep: string | null = null,
): Bar[] {
  const bars: Bar[] = [];
  let drawnUntil = -1;
  for (const node of nodes) {
    if (node.start >= span) continue;
    const x = (node.start / span) * width;
    const right = (Math.min(node.end, span) / span) * width;
    if (right - x < 1 && right < drawnUntil + 1 && node.node_id !== keep) continue;
    const drawn = Math.max(right - x, 1);
    bars.push({ node, x, width: drawn, cut: node.end - span > SAMPLING_SLACK });
    drawnUntil = x + drawn;
  }
  return bars;
}

/** Bars from this width (pixels) on show their caption, rows from the second height on as well. */
export const LABEL_WIDTH = 30;
const [THIN_ROW, LOWEST_ROW, HIGHEST_ROW] = [7, 14, 28];

export interface Rows {
  /** Pixels; the tops are measured from the top of the tree. */
  readonly tops: readonly number[];
  readonly heights: readonly number[];
  readonly height: number;
}

/**
 * How high each level of each tree is, so that together they fill `height` pixels as far as captions
 * stay readable. Levels too finely cut for a single caption are thin.
 */
export function rowsOf(
  trees: readonly CaptionTree[],
  span: number,
  width: number,
  height: number,
): Rows[] {
  const labelled = trees.map((tree) =>
    tree.levels.map((nodes) =>
      nodes.some((n) => ((Math.min(n.end, span) - n.start) / span) * width >= LABEL_WIDTH),
    ),
  );
  const high = labelled.flat().filter(Boolean).length;
  const left = height - (labelled.flat().length - high) * THIN_ROW;
  const rowHeight = Math.min(
    Math.max(Math.floor(left / Math.max(high, 1)), LOWEST_ROW),
    HIGHEST_ROW,
  );
  return labelled.map((levels) => {
    const heights = levels.map((hasLabel) => (hasLabel ? rowHeight : THIN_ROW));
    const tops: number[] = [];
    let bottom = 0;
    for (const h of heights) {
      tops.push(bottom);
      bottom += h;
    }
    return { tops, heights, height: bottom };
  });
}

// -- moving from node to node ----------------------------------------------------------------

/**
 * The node that an arrow key leads to: left and right to the neighbour in time on the same level,
 * up to the parent, down to the first child. Null where there is none before `span`, the axis's end.
 */
export function neighbour(
  tree: CaptionTree,
  node: TreeNode,
  key: string,
  span: number,
): TreeNode | null {
  const level = tree.levels[node.level] ?? [];
  const target: Record<string, TreeNode | undefined> = {
    ArrowLeft: level[level.indexOf(node) - 1],
    ArrowRight: level[level.indexOf(node) + 1],
    ArrowUp: node.parent_id === null ? undefined : tree.byId.get(node.parent_id),
    ArrowDown: tree.children.get(node.node_id)?.[0],
  };
  const found = target[key];
  return found && found.start < span ? found : null;
}

// -- words -----------------------------------------------------------------------------------

export function tierOf(tree: CaptionTree, node: TreeNode): "root" | "mid" | "leaf" {
  if (node.parent_id === null) return "root";
  return tree.children.has(node.node_id) ? "mid" : "leaf";
}

/** The words on a node's bar: its brief action, else its shortest caption. */
export function captionOf(node: TreeNode): string {
  const brief = node.gpt?.action.brief;
  return (
    (brief !== "N/A" ? brief : null) ??
    node.plm_action ??
    node.gpt?.summary.brief ??
    node.plm_caption ??
    node.llama3_caption ??
    "No caption"
  );
}

/** What a screen reader says, and a tooltip shows, for a node. */
export function describe(node: TreeNode): string {
  return `${captionOf(node)}, ${node.start.toFixed(2)} to ${node.end.toFixed(2)} s`;
}

/** Every text of a node with its heading, in the order in which a person wants to read them. */
export function textsOf(node: TreeNode): { heading: string; field: string; text: string }[] {
  const { summary, action } = node.gpt ?? {};
  const all: [string, string, string | null | undefined][] = [
    ["Action", "gpt.action.brief", action?.brief],
    ["Action in detail", "gpt.action.detailed", action?.detailed],
    ["Actor", "gpt.action.actor", action?.actor],
    ["Summary", "gpt.summary.brief", summary?.brief],
    ["Summary in detail", "gpt.summary.detailed", summary?.detailed],
    ["Clip action", "plm_action", node.plm_action],
    ["Clip caption", "plm_caption", node.plm_caption],
    ["Frame caption", "llama3_caption", node.llama3_caption],
  ];
  return all.flatMap(([heading, field, text]) => (text ? [{ heading, field, text }] : []));
}
