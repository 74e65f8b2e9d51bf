/** What a person has set up stays so: on the next sample, when the panel is opened again, tomorrow. */
import { readSettings, type Settings } from "./model/settings";
import type { Viewport } from "./model/viewport";
import { Store } from "./store";

const KEY = "action100m.tree_of_captions";

function stored(storage: () => Storage, key: string): unknown {
  try {
    return JSON.parse(storage().getItem(key) ?? "null");
  } catch {
    return null; // storage is off, or holds something else
  }
}

function store(storage: () => Storage, key: string, value: unknown): void {
  try {
    storage().setItem(key, JSON.stringify(value));
  } catch {
    // Without storage, what is set up lasts until the page is left.
  }
}

export const settings = new Store<Settings>(readSettings(null));
/** The part of the axis that was shown last; null for all of it. Lasts as long as the tab. */
export const lastViewport = new Store<Viewport | null>(null);

/** Take up what was set up before, and keep what changes from now on. */
export function keepSettings(): void {
  settings.set(readSettings(stored(() => localStorage, KEY)));
  settings.subscribe(() => store(() => localStorage, KEY, settings.get()));

  const view = stored(() => sessionStorage, KEY) as Partial<Viewport> | null;
  if (typeof view?.from === "number" && typeof view.to === "number" && view.to > view.from) {
    lastViewport.set({ from: view.from, to: view.to });
  }
  let waiting = 0;
  lastViewport.subscribe(() => {
    clearTimeout(waiting); // zooming changes it with every picture
    waiting = setTimeout(() => store(() => sessionStorage, KEY, lastViewport.get()), 300);
  });
}

export function change(changed: Partial<Settings>): void {
  settings.set({ ...settings.get(), ...changed });
}
