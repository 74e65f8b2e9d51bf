/**
 * The one place that touches the FiftyOne App.
 *
 * The App shares its packages as globals of the window, untyped. The parts in use are declared here
 * by hand as of FiftyOne 1.22; `missing` says which of them an App lacks, and the hooks below must
 * only be called where it is empty.
 */
import * as React from "react";

/** The App's player of the open video, as far as the panel uses it. */
export interface Player {
  readonly frameNumber: number;
  readonly state: { readonly loaded: boolean };
  seekToFrame(frame: number): void;
  /** Calls back whenever the field of the player's state changes; returns what ends that. */
  subscribeToState(field: "frameNumber" | "loaded", callback: () => void): () => void;
  addEventListener(type: "load", callback: () => void): void;
  removeEventListener(type: "load", callback: () => void): void;
}

/** A Recoil atom or selector that holds a T. */
interface RecoilValue<T> {
  readonly key: string;
  readonly __type?: T;
}

interface SpaceNode {
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
    readonly ModalMode: { readonly ANNOTATE: string };
    useModalMode(): string;
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
  __fos__: ["modalLooker", "nullableModalSampleId", "refresher", "ModalMode", "useModalMode"],
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

/** The id of the sample that the modal shows. */
export function useSampleId(): string | null {
  return app.recoil.useRecoilValue(app.__fos__.nullableModalSampleId) ?? null;
}

/** A number that changes whenever the App reloads its samples, as operators ask it to. */
export function useRefreshes(): number {
  return app.recoil.useRecoilValue(app.__fos__.refresher);
}

export type PlayerState =
  | { readonly player: Player; readonly problem: null }
  | { readonly player: null; readonly problem: string | null };

/** The player, or why there is none to follow and steer (null while it is loading). */
export function usePlayer(): PlayerState {
  const looker = app.recoil.useRecoilValue(app.__fos__.modalLooker);
  const annotating = app.__fos__.useModalMode() === app.__fos__.ModalMode.ANNOTATE;
  return React.useMemo<PlayerState>(() => {
    // In Annotate mode another player is on screen and this one stands still.
    if (annotating) {
      return {
        player: null,
        problem:
          "Annotate mode has a player of its own, which this panel can neither follow nor steer. Switch to Explore to see the trees in step with the video.",
      };
    }
    if (!looker) return { player: null, problem: null };
    if (isPlayer(looker)) return { player: looker, problem: null };
    return {
      player: null,
      problem:
        "This version of FiftyOne does not let panels follow or steer the video (needs FiftyOne 1.22).",
    };
  }, [looker, annotating]);
}

function isPlayer(looker: Partial<Player>): looker is Player {
  return (
    typeof looker.seekToFrame === "function" &&
    typeof looker.subscribeToState === "function" &&
    typeof looker.addEventListener === "function" &&
    typeof looker.frameNumber === "number" &&
    typeof looker.state?.loaded === "boolean"
  );
}

/** The frame on screen, playing or paused; null where there is no player. */
export function useFrame(player: Player | null): number | null {
  const [frame, setFrame] = React.useState<number | null>(player?.frameNumber ?? null);
  React.useEffect(() => {
    if (!player) {
      setFrame(null);
      return undefined;
    }
    const update = () => setFrame(player.frameNumber);
    update();
    const unsubscribe = player.subscribeToState("frameNumber", update);
    player.addEventListener("load", update);
    return () => {
      unsubscribe();
      player.removeEventListener("load", update);
    };
  }, [player]);
  return frame;
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

/** A function that calls a method of the Python panel; it answers `{error}` where that fails. */
export function usePython(
  method: string,
): (params: Readonly<Record<string, unknown>>) => Promise<unknown> {
  const panelId = app.__fosp__.usePanelId();
  const trigger = app.__foo__.usePanelEvent();
  const latest = React.useRef({ panelId, trigger });
  latest.current = { panelId, trigger };
  return React.useCallback(
    (params) =>
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
    [method],
  );
}

/** Move the panel beside the video on mount: it opens as a tab, which would hide the video. */
export function useDockBesideVideo(panelName: string): void {
  const { spaces } = app.__fosp__.useSpaces("fiftyone-modal-spaces");
  React.useEffect(() => {
    const panel = findSpace(spaces.root, panelName);
    const parent = panel?.parent;
    const sharesTabsWithVideo = parent?.children.some((c) => c.type === "fo-sample-modal-plugin");
    if (panel && parent && sharesTabsWithVideo && spaces.canSplitLayout(parent)) {
      spaces.splitLayout(parent, app.__fosp__.Layout.Horizontal, panel);
    }
    // Only where the panel opens: where a person moves it to later is theirs to choose.
  }, []);
}

function findSpace(node: SpaceNode, type: string): SpaceNode | undefined {
  if (node.type === type) return node;
  for (const child of node.children) {
    const found = findSpace(child, type);
    if (found) return found;
  }
  return undefined;
}
