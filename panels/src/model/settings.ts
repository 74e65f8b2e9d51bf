/** What a person can set up. */
import type { ColourBy } from "./colours";
import { type Filters, TIERS } from "./filters";

export interface Settings {
  /** Names of trees; null for the first that there is, "" for none. */
  readonly upper: string | null;
  readonly lower: string | null;
  readonly colourBy: ColourBy;
  readonly filters: Filters;
  /** Whether the view turns pages to keep the playhead on screen. */
  readonly follow: boolean;
}

/** Settings out of what is stored, which an older panel may have written. */
export function readSettings(stored: unknown): Settings {
  const known = (typeof stored === "object" && stored !== null ? stored : {}) as Partial<Settings>;
  const filters: Partial<Filters> = known.filters ?? {};
  const name = (value: unknown) => (typeof value === "string" ? value : null);
  return {
    upper: name(known.upper),
    lower: name(known.lower),
    colourBy:
      (["level", "actor", "iou", "text"] as const).find((c) => c === known.colourBy) ?? "level",
    follow: known.follow !== false,
    filters: {
      maxLevel: typeof filters.maxLevel === "number" ? filters.maxLevel : null,
      minDuration: typeof filters.minDuration === "number" ? filters.minDuration : 0,
      flaggedOnly: filters.flaggedOnly === true,
      tiers: Array.isArray(filters.tiers)
        ? TIERS.filter((tier) => filters.tiers!.includes(tier))
        : TIERS,
    },
  };
}
