/**
 * The one place that touches the FiftyOne App.
 *
 * The App shares its packages as globals of the window, untyped. The parts in use are declared here
 * by hand as of FiftyOne 1.22; `missing` says which of them an App lacks, and the hooks below must
 * only be called where it is empty.
 */
import * as React from "react";
import { Store } from "./store";
import type { Theme } from "./model/colours";

/** The App's player of the open video, as far as the panel uses it. */
export interface Player {
  readonly frameNumber: number;
  readonly state: {
    readonly loaded: boolean;
    readonly playing?: boolean;
    readonly options?: { readonly playbackRate?: number };
  };
  seekToFrame(frame: number): void;
  play(): void;
  pause(): void;
  /** Calls back whenever the field of the player's state changes; returns what ends that. */
  subscribeToState(field: "frameNumber" | "loaded" | "playing", callback: () => void): () => void;
  addEventListener(type: "load", callback: () => void): void;
  removeEventListener(type: "load", callback: () => void): void;
}

/** A Recoil atom or selector that holds a T. */
interface RecoilValue<T> {
  readonly key: string;
  readonly __type?: T;
}

interface SpaceNode {
  readonly id: string;
  readonly type: string | null;
  readonly parent?: SpaceNode;
  readonly children: readonly SpaceNode[];
}

interface Spaces {
  readonly root: SpaceNode;
  canSplitLayout(node: SpaceNode): boolean;
  splitLayout(parent: SpaceNode, layout: string, node: SpaceNode): void;
}

interface OperatorResult {
  readonly result?: unknown;
  readonly error?: unknown;
  readonly errorMessage?: unknown;
}

type PanelEvent = (
  panelId: string,
  options: {
    operator: string;
    params: Readonly<Record<string, unknown>>;
    callback: (result: OperatorResult) => boolean;
  },
) => void;

interface AppGlobals {
  readonly recoil: { useRecoilValue<T>(value: RecoilValue<T>): T };
  /** @fiftyone/state */
  readonly __fos__: {
    readonly modalLooker: RecoilValue<Partial<Player> | null | undefined>;
    readonly nullableModalSampleId: RecoilValue<string | null | undefined>;
    readonly refresher: RecoilValue<number>;
    /** The ids of the samples that are selected in the grid. */
    readonly selectedSamples: RecoilValue<ReadonlySet<string> | ReadonlyMap<string, unknown>>;
    readonly ModalMode: { readonly ANNOTATE: string };
    useModalMode(): string;
    useModalModeController(): { activateExploreMode(): void };
  };
  /** @fiftyone/operators */
  readonly __foo__: { usePanelEvent(): PanelEvent };
  /** @fiftyone/spaces */
  readonly __fosp__: {
    readonly Layout: { readonly Horizontal: string };
    usePanelId(): string;
    useSpaces(id: string): { readonly spaces: Spaces };
  };
  /** @fiftyone/plugins */
  readonly __fop__: {
    readonly PluginComponentType: { readonly Component: number };
    registerComponent<P>(registration: {
      name: string;
      label: string;
      component: React.ComponentType<P>;
      type: number;
      activator: () => boolean;
    }): void;
  };
}

const NEEDED: { readonly [G in keyof AppGlobals]: readonly (keyof AppGlobals[G])[] } = {
  recoil: ["useRecoilValue"],
  __fos__: [
    "modalLooker",
    "nullableModalSampleId",
    "refresher",
    "selectedSamples",
    "ModalMode",
    "useModalMode",
    "useModalModeController",
  ],
  __foo__: ["usePanelEvent"],
  __fosp__: ["Layout", "usePanelId", "useSpaces"],
  __fop__: ["PluginComponentType", "registerComponent"],
};

const app = window as unknown as AppGlobals;

/** The names of what this App lacks and the panel needs. */
export function missing(): string[] {
  const found = window as unknown as Readonly<
    Record<string, Readonly<Record<string, unknown>> | undefined>
  >;
  return Object.entries(NEEDED).flatMap(([name, members]) =>
    members.filter((member) => found[name]?.[member] == null).map((member) => `${name}.${member}`),
  );
}

/** Make a React component available to Python as `types.View(component=name)`. */
export function registerComponent<P>(name: string, component: React.ComponentType<P>): void {
  app.__fop__.registerComponent({
    name,
    label: name,
    component,
    type: app.__fop__.PluginComponentType.Component,
    activator: () => true,
  });
}

export type Surface = "grid" | "modal";

/** Whether the panel is beside the grid or beside the open sample. */
export function useSurface(): Surface {
  const id = app.__fosp__.usePanelId();
  const { spaces } = app.__fosp__.useSpaces(MODAL_SPACES);
  return findSpace(spaces.root, (node) => node.id === id) ? "modal" : "grid";
}

/** The sample that the modal shows; beside the grid the one that was selected last. */
export function useSampleId(surface: Surface): string | null {
  const open = app.recoil.useRecoilValue(app.__fos__.nullableModalSampleId) ?? null;
  const selected = app.recoil.useRecoilValue(app.__fos__.selectedSamples);
  return surface === "modal" ? open : ([...selected.keys()].at(-1) ?? null);
}

/** A number that changes whenever the App reloads its samples, as operators ask it to. */
export function useRefreshes(): number {
  return app.recoil.useRecoilValue(app.__fos__.refresher);
}

export interface PlayerState {
  readonly player: Player | null;
  /** Why there is none to follow and steer; null while it is loading. */
  readonly problem: string | null;
  /** Leaves Annotate mode, where that is the problem. */
  readonly leaveAnnotateMode: (() => void) | null;
}

/** The player of the open video, or why there is none. */
export function usePlayer(surface: Surface): PlayerState {
  const looker = app.recoil.useRecoilValue(app.__fos__.modalLooker);
  const annotating = app.__fos__.useModalMode() === app.__fos__.ModalMode.ANNOTATE;
  const { activateExploreMode } = app.__fos__.useModalModeController();
  return React.useMemo<PlayerState>(() => {
    const none = { player: null, problem: null, leaveAnnotateMode: null };
    if (surface === "grid") return none;
    // In Annotate mode another player is on screen and this one stands still.
    if (annotating) {
      return {
        player: null,
        problem:
          "Annotate mode has a player of its own, which this panel can neither follow nor steer.",
        leaveAnnotateMode: activateExploreMode,
      };
    }
    if (!looker) return none;
    if (isPlayer(looker)) return { ...none, player: looker };
    return {
      ...none,
      problem:
        "This version of FiftyOne does not let panels follow or steer the video (needs FiftyOne 1.22).",
    };
  }, [surface, looker, annotating, activateExploreMode]);
}

function isPlayer(looker: Partial<Player>): looker is Player {
  return (
    typeof looker.seekToFrame === "function" &&
    typeof looker.play === "function" &&
    typeof looker.pause === "function" &&
    typeof looker.subscribeToState === "function" &&
    typeof looker.addEventListener === "function" &&
    typeof looker.frameNumber === "number" &&
    typeof looker.state?.loaded === "boolean"
  );
}

/** Where the video is. */
export interface Playhead {
  /** The frame on screen; null where there is no player. */
  readonly frame: Store<number | null>;
  /** Seconds; while the video plays also between two frames, so that a line can glide. */
  readonly time: Store<number | null>;
}

/** Follows the player. */
export function usePlayhead(player: Player | null, fps: number): Playhead {
  const playhead = React.useMemo<Playhead>(
    () => ({ frame: new Store<number | null>(null), time: new Store<number | null>(null) }),
    [],
  );
  React.useEffect(() => {
    if (!player) {
      playhead.frame.set(null);
      playhead.time.set(null);
      return undefined;
    }
    let [seenAt, request] = [0, 0];
    const glide = () => {
      const { playing, options } = player.state;
      const passed = ((performance.now() - seenAt) / 1000) * (options?.playbackRate ?? 1);
      // Not beyond the next frame: the video may be waiting for data.
      const beyond = playing ? Math.min(passed, 1 / fps) : 0;
      playhead.time.set((player.frameNumber - 1) / fps + beyond);
      request = playing ? requestAnimationFrame(glide) : 0;
    };
    const update = () => {
      seenAt = performance.now();
      cancelAnimationFrame(request);
      glide();
      playhead.frame.set(player.frameNumber);
    };
    update();
    const unsubscribe = player.subscribeToState("frameNumber", update);
    player.addEventListener("load", update);
    return () => {
      cancelAnimationFrame(request);
      unsubscribe();
      player.removeEventListener("load", update);
    };
  }, [player, fps, playhead]);
  return playhead;
}

/** How long after a video has loaded the App may still send its player back to the first frame. */
const SETTLING_MS = 1500;

/**
 * A function that seeks to a frame and sees to it that the player arrives there.
 *
 * A player that is loading ignores seeks. Once it has loaded, the App's own timeline takes a moment
 * to learn how long the video is, and until then answers every seek by going back to frame 1.
 */
export function useSeek(player: Player | null): (frame: number) => void {
  const wanted = React.useRef<number | null>(null);
  const settlesAt = React.useRef(Number.POSITIVE_INFINITY);

  const attempt = React.useCallback(() => {
    if (!player?.state.loaded) return;
    settlesAt.current = Math.min(settlesAt.current, performance.now() + SETTLING_MS);
    if (wanted.current !== null) player.seekToFrame(wanted.current);
    if (performance.now() > settlesAt.current) wanted.current = null;
  }, [player]);

  React.useEffect(() => {
    if (!player) return undefined;
    settlesAt.current = Number.POSITIVE_INFINITY;
    const later = () => setTimeout(attempt); // the player calls back while it changes its state
    const subscriptions = [
      player.subscribeToState("loaded", later),
      player.subscribeToState("frameNumber", () => {
        if (performance.now() > settlesAt.current) wanted.current = null;
        else if (player.frameNumber === 1) later();
      }),
    ];
    attempt();
    return () => subscriptions.forEach((unsubscribe) => unsubscribe());
  }, [player, attempt]);

  return React.useCallback(
    (frame) => {
      wanted.current = frame;
      attempt();
    },
    [attempt],
  );
}

type Call = (params: Readonly<Record<string, unknown>>) => Promise<unknown>;

/** Functions that call methods of the Python panel; they answer `{error}` where that fails. */
export function usePython(): (method: string) => Call {
  const panelId = app.__fosp__.usePanelId();
  const trigger = app.__foo__.usePanelEvent();
  const latest = React.useRef({ panelId, trigger });
  latest.current = { panelId, trigger };
  return React.useCallback(
    (method) => (params) =>
      new Promise((resolve) => {
        latest.current.trigger(latest.current.panelId, {
          operator: method,
          params,
          callback: ({ result, error, errorMessage }) => {
            resolve(error ? { error: String(errorMessage ?? error) } : result);
            return false; // reported here: the App would close the whole modal
          },
        });
      }),
    [],
  );
}

const MODAL_SPACES = "fiftyone-modal-spaces";

/** Move the panel beside the video on mount: it opens as a tab, which would hide the video. */
export function useDockBesideVideo(): void {
  const id = app.__fosp__.usePanelId();
  const { spaces } = app.__fosp__.useSpaces(MODAL_SPACES);
  React.useEffect(() => {
    const panel = findSpace(spaces.root, (node) => node.id === id);
    const parent = panel?.parent;
    const sharesTabsWithVideo = parent?.children.some((c) => c.type === "fo-sample-modal-plugin");
    if (panel && parent && sharesTabsWithVideo && spaces.canSplitLayout(parent)) {
      spaces.splitLayout(parent, app.__fosp__.Layout.Horizontal, panel);
    }
    // Only where the panel opens: where a person moves it to later is theirs to choose.
  }, []);
}

function findSpace(node: SpaceNode, wanted: (node: SpaceNode) => boolean): SpaceNode | undefined {
  if (wanted(node)) return node;
  for (const child of node.children) {
    const found = findSpace(child, wanted);
    if (found) return found;
  }
  return undefined;
}

/** The App's colour scheme, which a person can switch at any time. */
export function useTheme(): Theme {
  return React.useSyncExternalStore(watchTheme, currentTheme);
}

const currentTheme = (): Theme =>
  document.documentElement.getAttribute("data-mui-color-scheme") === "light" ? "light" : "dark";

function watchTheme(callback: () => void): () => void {
  const observer = new MutationObserver(callback);
  observer.observe(document.documentElement, {
    attributes: true,
    attributeFilter: ["data-mui-color-scheme"],
  });
  return () => observer.disconnect();
}
