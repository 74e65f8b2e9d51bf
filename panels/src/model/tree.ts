/**
 * Trees as the panel knows them: reading what Python sent, and turning times into frames and text.
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
  /** What a person said of this node by hand. */
  readonly review: Review | null;
}

export interface Review {
  readonly flagged: boolean;
  readonly tags: readonly string[];
  /** Who said it last, and when (ISO 8601, UTC). */
  readonly by: string;
  readonly at: string;
  /** The texts that were corrected, as the model had written them, by field. */
  readonly before: Readonly<Record<string, string | null>>;
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
  /** Whether a person may flag and correct its nodes: a run's, never the ground truth's. */
  readonly editable: boolean;
  /** The model that wrote a text, by the first part of its field, where it is known. */
  readonly models: Readonly<Record<string, string>>;
  /** How well a run's texts agree with the ground truth's, 0 to 1, where that was computed. */
  readonly textAgreement: ReadonlyMap<string, number> | null;
  /** The same for the ground truth's nodes, compared with this run's. */
  readonly reverseTextAgreement: ReadonlyMap<string, number> | null;
  readonly byId: ReadonlyMap<string, TreeNode>;
  readonly children: ReadonlyMap<string, readonly TreeNode[]>;
  /** The nodes of each level in order of time. */
  readonly levels: readonly (readonly TreeNode[])[];
  readonly end: number;
}

/** A line of the transcript. */
export interface Line {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface Video {
  readonly title: string;
  readonly fps: number;
  readonly frames: number;
  /** Seconds of the video file, which can be a clip that ends long before the trees do. */
  readonly duration: number;
  readonly trees: readonly CaptionTree[];
  readonly transcript: readonly Line[];
  /** False where the nodes lack their long texts: Python leaves them out of very large trees at first. */
  readonly whole: boolean;
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
    transcript: listOf(fields.transcript)
      .map((line) => {
        const { start, end, text } = fieldsOf(line);
        return { start: numberOf(start), end: numberOf(end), text: textOf(text) ?? "" };
      })
      .filter((line) => line.text !== "" && line.end > line.start)
      .sort((a, b) => a.start - b.start),
    whole: fields.whole !== false,
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
    editable: fields.editable === true,
    models: Object.fromEntries(
      Object.entries(fieldsOf(fields.models)).flatMap(([field, model]) => {
        const name = textOf(model);
        return name ? [[field, name]] : [];
      }),
    ),
    textAgreement: readAgreement(fieldsOf(fields.agreement).prediction),
    reverseTextAgreement: readAgreement(fieldsOf(fields.agreement).reference),
    byId: new Map(nodes.map((node) => [node.node_id, node])),
    children,
    levels,
    end: nodes.reduce((end, node) => Math.max(end, node.end), 0),
  };
}

/** The texts' scores by node id, of what the comparison of a run stores for one of its two trees. */
function readAgreement(value: unknown): ReadonlyMap<string, number> | null {
  const scores = Object.entries(fieldsOf(value)).flatMap(([id, entry]) => {
    const score = numberOf(fieldsOf(entry).text);
    return score >= 0 && score <= 1 ? [[id, score] as const] : [];
  });
  return scores.length ? new Map(scores) : null;
}

function readReview(value: unknown): Review | null {
  const fields = fieldsOf(value);
  const tags = listOf(fields.tags).flatMap((tag) => textOf(tag) ?? []);
  const before = Object.fromEntries(
    Object.entries(fieldsOf(fields.before)).map(([field, text]) => [field, textOf(text)]),
  );
  const flagged = fields.flagged === true;
  if (!flagged && tags.length === 0 && Object.keys(before).length === 0) return null;
  return { flagged, tags, by: textOf(fields.by) ?? "", at: textOf(fields.at) ?? "", before };
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
    review: readReview(fields.review),
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
  return tree.levels.flatMap((nodes) => {
    const next = firstIndex(nodes, (node) => Math.round(node.start * fps) + 1 > frame);
    const node = nodes[next - 1];
    return node && frame <= Math.round(node.end * fps) ? [node] : [];
  });
}

/** The index of the first item from which on `holds`, which must not stop to hold; binary search. */
export function firstIndex<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(items[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** "1:05", "1:02:03"; with `digits` decimals of a second. */
export function formatTime(time: number, digits = 0): string {
  const units = 10 ** digits;
  const total = Math.round(time * units);
  const minutes = Math.floor(total / (60 * units));
  const seconds = ((total % (60 * units)) / units)
    .toFixed(digits)
    .padStart(digits ? digits + 3 : 2, "0");
  return minutes < 60
    ? `${minutes}:${seconds}`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${seconds}`;
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

// -- words -----------------------------------------------------------------------------------

export type Tier = "root" | "mid" | "leaf";

export function tierOf(tree: CaptionTree, node: TreeNode): Tier {
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

/** What a screen reader says for a node; a caption can have thousands of characters. */
export function describe(node: TreeNode): string {
  return `${shorten(captionOf(node), 160)}, ${node.start.toFixed(2)} to ${node.end.toFixed(2)} s`;
}

/** At most `length` characters of a text in one line; whole characters, also those of two halves. */
export function shorten(text: string, length: number): string {
  const line = text
    .slice(0, 4 * length)
    .replace(/\s+/g, " ")
    .trim();
  const characters = [...line];
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : line;
}

export type TextField =
  | "gpt.action.brief"
  | "gpt.action.detailed"
  | "gpt.action.actor"
  | "gpt.summary.brief"
  | "gpt.summary.detailed"
  | "plm_action"
  | "plm_caption"
  | "llama3_caption";

/** The texts that a node can have, in the order in which a person wants to read them. */
export const TEXT_FIELDS: readonly { readonly field: TextField; readonly heading: string }[] = [
  { field: "gpt.action.brief", heading: "Action" },
  { field: "gpt.action.detailed", heading: "Action in detail" },
  { field: "gpt.action.actor", heading: "Actor" },
  { field: "gpt.summary.brief", heading: "Summary" },
  { field: "gpt.summary.detailed", heading: "Summary in detail" },
  { field: "plm_action", heading: "Clip action" },
  { field: "plm_caption", heading: "Clip caption" },
  { field: "llama3_caption", heading: "Frame caption" },
];

export function textAt(node: TreeNode, field: TextField): string | null {
  switch (field) {
    case "gpt.action.brief":
      return node.gpt?.action.brief ?? null;
    case "gpt.action.detailed":
      return node.gpt?.action.detailed ?? null;
    case "gpt.action.actor":
      return node.gpt?.action.actor ?? null;
    case "gpt.summary.brief":
      return node.gpt?.summary.brief ?? null;
    case "gpt.summary.detailed":
      return node.gpt?.summary.detailed ?? null;
    default:
      return node[field];
  }
}

/** The model that wrote a node's text, where the tree knows it. */
export function modelOf(tree: CaptionTree, field: TextField): string | null {
  return tree.models[field.split(".")[0]!] ?? null;
}
