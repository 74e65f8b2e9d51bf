import * as React from "react";
import type { Player } from "./fiftyone";
import { frameAt, type TreeNode, type Video } from "./model/tree";

/** The segment that is being played by itself, once or over and over. */
export interface Playing {
  readonly node: TreeNode;
  readonly loop: boolean;
}

/** Plays one segment: from its start, stopping at its end or beginning again. */
export function useSegmentPlayer(
  player: Player | null,
  video: Video,
  seek: (frame: number) => void,
): { readonly playing: Playing | null; play(node: TreeNode, loop: boolean): void; stop(): void } {
  const [playing, setPlaying] = React.useState<Playing | null>(null);

  React.useEffect(() => {
    if (!player || !playing) return undefined;
    const first = frameAt(playing.node.start, video);
    const last = Math.max(Math.min(Math.round(playing.node.end * video.fps), video.frames), first);
    let phase: "going" | "playing" | "stopping" = "going";
    let waiting = 0;
    // The player calls back while it changes its state: what changes it again has to wait.
    const later = (after = 0) => {
      clearTimeout(waiting);
      waiting = setTimeout(check, after);
    };
    const begin = () => {
      phase = "going";
      seek(first);
      later();
    };
    const check = () => {
      const frame = player.frameNumber;
      if (phase === "going") {
        if (frame < first || frame > last) return; // the seek is under way
        phase = "playing";
        player.play();
      } else if (phase === "stopping") {
        // Pausing lets the player run on for a frame or two.
        if (player.state.playing) player.pause();
        else if (frame !== last) seek(last);
        else return setPlaying(null);
        later(60);
      } else if (frame >= last && frame < last + video.fps) {
        if (playing.loop) return begin();
        phase = "stopping";
        player.pause();
        later(60);
      } else if (frame < first || frame > last) {
        setPlaying(null); // somebody went elsewhere
      }
    };
    const unsubscribe = player.subscribeToState("frameNumber", () => later());
    begin();
    return () => {
      clearTimeout(waiting);
      unsubscribe();
    };
  }, [player, playing, video, seek]);

  const play = React.useCallback((node: TreeNode, loop: boolean) => setPlaying({ node, loop }), []);
  const stop = React.useCallback(() => setPlaying(null), []);
  return { playing, play, stop };
}
