/** What a node's colour says, for either theme, with the legend that explains it. */
import type { CaptionTree, TreeNode } from "./tree";

export type Theme = "dark" | "light";
export type ColourBy = "level" | "actor" | "iou" | "text";

export interface LegendEntry {
  readonly colour: string;
  readonly label: string;
}

export interface Colours {
  of(node: TreeNode): string;
  readonly legend: readonly LegendEntry[];
}

export const NEUTRAL: Readonly<Record<Theme, string>> = {
  dark: "hsl(220 6% 30%)",
  light: "hsl(220 10% 84%)",
};

/** From indigo at the root to green at the deepest level. */
export function levelColour(share: number, theme: Theme): string {
  const hue = 236 - 90 * share;
  return theme === "dark"
    ? `hsl(${hue.toFixed(0)} 34% ${(41 - 6 * share).toFixed(0)}%)`
    : `hsl(${hue.toFixed(0)} ${(60 - 16 * share).toFixed(0)}% 82%)`;
}

/** From orange, which stands out, over grey to blue: told apart also by who confuses red and green. */
export function agreementColour(score: number, theme: Theme): string {
  const hue = score < 0.5 ? 20 : 214;
  const strength = Math.abs(2 * score - 1);
  return theme === "dark"
    ? `hsl(${hue} ${(6 + 46 * strength).toFixed(0)}% ${(36 + 5 * strength).toFixed(0)}%)`
    : `hsl(${hue} ${(8 + 77 * strength).toFixed(0)}% ${(84 - 14 * strength).toFixed(0)}%)`;
}

const ACTOR_HUES = [212, 28, 150, 320, 262, 55, 182, 0];

/** The most levels of which the legend has room to name each. */
const NAMED_LEVELS = 9;

export function byLevel(depth: number, theme: Theme): Colours {
  const colour = (level: number) => levelColour(depth ? level / depth : 0, theme);
  const palette = Array.from({ length: depth + 1 }, (_, level) => colour(level));
  return {
    of: (node) => palette[node.level] ?? colour(depth),
    legend: palette.map((c, level) => ({
      colour: c,
      label:
        level === 0
          ? "level 0, the whole video"
          : depth < NAMED_LEVELS || level % 5 === 0 || level === depth
            ? `${level}`
            : "",
    })),
  };
}

/** The actors that act longest have a colour each; those beyond share one. */
export function byActor(trees: readonly CaptionTree[], theme: Theme): Colours {
  const seconds = new Map<string, number>();
  for (const tree of trees) {
    for (const node of tree.byId.values()) {
      const actor = actorOf(node);
      if (actor) seconds.set(actor, (seconds.get(actor) ?? 0) + node.end - node.start);
    }
  }
  const leading = [...seconds].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const colour = new Map(
    leading
      .slice(0, ACTOR_HUES.length)
      .map(([actor], i) => [
        actor,
        theme === "dark" ? `hsl(${ACTOR_HUES[i]} 42% 38%)` : `hsl(${ACTOR_HUES[i]} 62% 80%)`,
      ]),
  );
  const other = theme === "dark" ? "hsl(220 6% 42%)" : "hsl(220 8% 70%)";
  const legend = [...colour].map(([label, c]) => ({ colour: c, label }));
  if (leading.length > ACTOR_HUES.length) {
    legend.push({ colour: other, label: `${leading.length - ACTOR_HUES.length} others` });
  }
  legend.push({ colour: NEUTRAL[theme], label: "no actor named" });
  return {
    of: (node) => {
      const actor = actorOf(node);
      return actor ? (colour.get(actor) ?? other) : NEUTRAL[theme];
    },
    legend,
  };
}

function actorOf(node: TreeNode): string | null {
  const actor = node.gpt?.action.actor?.trim().toLowerCase();
  return actor && actor !== "n/a" ? actor : null;
}

/** @param what "IoU", or what else the scores are */
export function byAgreement(
  score: (node: TreeNode) => number | null,
  what: string,
  theme: Theme,
): Colours {
  const palette = Array.from({ length: 21 }, (_, i) => agreementColour(i / 20, theme));
  return {
    of: (node) => {
      const value = score(node);
      return value === null ? NEUTRAL[theme] : palette[Math.round(value * 20)]!;
    },
    legend: [
      ...[0, 0.25, 0.5, 0.75, 1].map((value) => ({
        colour: agreementColour(value, theme),
        label: value === 0 ? `${what} 0` : `${value}`,
      })),
      { colour: NEUTRAL[theme], label: "not compared" },
    ],
  };
}
