/** What moves with the playhead: the lit path of each tree, and the view that follows. */
import * as React from "react";
import type { Playhead } from "./fiftyone";
import { type CaptionTree, pathAt, type TreeNode } from "./model/tree";
import { follow, type Viewport } from "./model/viewport";
import { Store } from "./store";

export type Path = Store<readonly TreeNode[]>;

const NO_PATH: readonly TreeNode[] = [];

/** For each tree the nodes at the playhead, root first. */
export function usePaths(
  shown: readonly CaptionTree[],
  playhead: Playhead,
  fps: number,
): readonly Path[] {
  const paths = React.useMemo(() => shown.map((): Path => new Store(NO_PATH)), [shown]);
  React.useEffect(() => {
    const update = () => {
      const frame = playhead.frame.get();
      shown.forEach((tree, i) => {
        const path = frame === null ? NO_PATH : pathAt(tree, frame, fps);
        const store = paths[i]!;
        if (!sameNodes(path, store.get())) store.set(path);
      });
    };
    update();
    return playhead.frame.subscribe(update);
  }, [playhead, shown, paths, fps]);
  return paths;
}

function sameNodes(a: readonly TreeNode[], b: readonly TreeNode[]): boolean {
  return a.length === b.length && a.every((node, i) => node === b[i]);
}

/** Turns the page when the playhead leaves the screen, if `wanted`. */
export function useFollow(
  wanted: boolean,
  playhead: Playhead,
  view: Store<Viewport>,
  end: number,
): void {
  React.useEffect(() => {
    if (!wanted) return undefined;
    let last = playhead.frame.get();
    // Only where the playhead moves: a person who pans while the video is paused stays there. And not
    // to the first frame, where the App sends a video that is loading.
    return playhead.frame.subscribe(() => {
      const [frame, time] = [playhead.frame.get(), playhead.time.get()];
      if (frame !== null && time !== null && last !== null && frame !== last && frame > 1) {
        view.set(follow(view.get(), time, end));
      }
      last = frame;
    });
  }, [wanted, playhead, view, end]);
}
