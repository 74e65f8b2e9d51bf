import * as React from "react";
import type { Finding } from "./finding";
import type { ColourBy, LegendEntry } from "./model/colours";
import { type Filters, isFiltering, NO_FILTERS, TIERS } from "./model/filters";
import type { Settings } from "./model/settings";
import { change } from "./settings";

interface SearchProps extends Finding {
  readonly input: React.RefObject<HTMLInputElement>;
  /** Whether the long texts are there to be searched. */
  readonly whole: boolean;
}

export function Search(props: SearchProps) {
  const { query, count, at, lines } = props;
  const onKeyDown = (event: React.KeyboardEvent) => {
    event.stopPropagation(); // the App has shortcuts of its own
    if (event.key === "Enter") props.step(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") props.setQuery("");
    else return;
    event.preventDefault();
  };
  const hits = count === 0 ? "none" : at >= 0 ? `${at + 1}/${count}` : String(count);
  const said = lines.size ? `, ${lines.size} said` : "";
  return (
    <span className="search" role="search">
      <input
        ref={props.input}
        type="search"
        dir="auto"
        aria-label="Search the captions"
        placeholder="Search the captions"
        value={query}
        onChange={(event) => props.setQuery(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {query.trim() && (
        <>
          <output data-testid="hits">
            {hits}
            {said}
            {!props.whole && " in the brief texts so far"}
          </output>
          <button type="button" aria-label="Previous hit" onClick={() => props.step(-1)}>
            ‹
          </button>
          <button type="button" aria-label="Next hit" onClick={() => props.step(1)}>
            ›
          </button>
        </>
      )}
    </span>
  );
}

const COLOURS: readonly { readonly by: ColourBy; readonly label: string }[] = [
  { by: "level", label: "Colour: level" },
  { by: "actor", label: "Colour: actor" },
  { by: "iou", label: "Colour: IoU" },
  { by: "text", label: "Colour: texts" },
];

export function ColourChoice(props: { colourBy: ColourBy; available: (by: ColourBy) => boolean }) {
  return (
    <select
      aria-label="Colour by"
      value={props.colourBy}
      onChange={(event) => change({ colourBy: event.target.value as ColourBy })}
    >
      {COLOURS.filter(({ by }) => props.available(by)).map(({ by, label }) => (
        <option key={by} value={by}>
          {label}
        </option>
      ))}
    </select>
  );
}

export function Legend({ entries }: { entries: readonly LegendEntry[] }) {
  return (
    <ul className="legend" aria-label="Legend">
      {entries.map(({ colour, label }, i) => (
        <li key={i}>
          <i style={{ background: colour }} /> {label}
        </li>
      ))}
    </ul>
  );
}

const DURATIONS = [0, 0.5, 1, 2, 4, 8, 15, 30, 60];

/** Which segments are shown; search looks among those only. */
export function FilterForm(props: { settings: Settings; depth: number; shown: string }) {
  const { filters } = props.settings;
  const set = (changed: Partial<Filters>) => change({ filters: { ...filters, ...changed } });
  const level = Math.min(filters.maxLevel ?? props.depth, props.depth);
  return (
    <fieldset
      className="filters"
      aria-label="Filters"
      onKeyDown={(event) => event.stopPropagation()}
    >
      <label>
        Levels 0 to {level}
        <input
          type="range"
          aria-label="Deepest level"
          min={0}
          max={props.depth}
          value={level}
          onChange={({ target }) =>
            set({ maxLevel: target.valueAsNumber >= props.depth ? null : target.valueAsNumber })
          }
        />
      </label>
      <span className="tiers">
        {TIERS.map((tier) => (
          <label key={tier} className="check">
            <input
              type="checkbox"
              checked={filters.tiers.includes(tier)}
              onChange={({ target }) =>
                set({
                  tiers: TIERS.filter((t) =>
                    t === tier ? target.checked : filters.tiers.includes(t),
                  ),
                })
              }
            />
            {tier}
          </label>
        ))}
      </span>
      <label>
        At least
        <select
          aria-label="Minimum duration"
          value={filters.minDuration}
          onChange={({ target }) => set({ minDuration: Number(target.value) })}
        >
          {DURATIONS.map((seconds) => (
            <option key={seconds} value={seconds}>
              {seconds} s
            </option>
          ))}
        </select>
      </label>
      <label className="check">
        <input
          type="checkbox"
          checked={filters.flaggedOnly}
          onChange={({ target }) => set({ flaggedOnly: target.checked })}
        />
        flagged only
      </label>
      <output>{props.shown}</output>
      <button
        type="button"
        className="quiet"
        disabled={!isFiltering(filters)}
        onClick={() => set(NO_FILTERS)}
      >
        Show all
      </button>
    </fieldset>
  );
}

/** A button that opens a list of things to do. */
export function Menu(props: {
  label: string;
  items: readonly {
    readonly label: string;
    readonly title?: string;
    readonly disabled?: boolean;
    run(): void;
  }[];
}) {
  const element = React.useRef<HTMLDetailsElement>(null);
  const close = () => {
    if (element.current) element.current.open = false;
  };
  return (
    <details
      ref={element}
      className="menu"
      onToggle={({ currentTarget: menu }) =>
        // It opens to the side where there is room.
        menu.classList.toggle("leftward", menu.offsetLeft > 160)
      }
      onKeyDown={(event) => event.key === "Escape" && close()}
      onBlur={(event) =>
        !event.currentTarget.contains(event.relatedTarget as Node | null) && close()
      }
    >
      <summary>{props.label}</summary>
      <div role="menu">
        {props.items.map(({ label, title, disabled, run }) => (
          <button
            key={label}
            type="button"
            role="menuitem"
            title={title}
            disabled={disabled}
            onClick={() => {
              close();
              run();
            }}
          >
            {label}
          </button>
        ))}
      </div>
    </details>
  );
}
