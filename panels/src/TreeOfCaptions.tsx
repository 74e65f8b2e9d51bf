import * as React from "react";
import { Details } from "./Details";
import {
  type Player,
  useDockBesideVideo,
  useFrame,
  usePlayer,
  usePython,
  useRefreshes,
  useSampleId,
} from "./fiftyone";
import { Icicle, type Scale } from "./Icicle";
import style from "./style.css";
import {
  type CaptionTree,
  endsBeyond,
  formatTime,
  frameAt,
  nodesBeyond,
  readVideo,
  rowHeight,
  ticks,
  timeOf,
  type TreeNode,
  type Video,
} from "./tree";

interface Props {
  /** What the Python panel's `render` returned: `get_trees` is the name to call that method by. */
  readonly schema: { readonly view: { readonly get_trees: string } };
}

export function TreeOfCaptions({ schema }: Props) {
  useDockBesideVideo("tree_of_captions");
  const sampleId = useSampleId();
  const { answer, reload } = useTrees(schema.view.get_trees, sampleId);
  return (
    <div className="a100m" data-testid="tree-of-captions">
      <style>{style}</style>
      <Content key={sampleId} answer={answer} reload={reload} />
    </div>
  );
}

type Answer = Video | { readonly error: string };

/** Answers by sample, so that going back to a video, or docking, asks Python nothing. */
const cache = new Map<string, Video>();
const CACHED_VIDEOS = 20;

function useTrees(method: string, sampleId: string | null) {
  const callPython = usePython(method);
  const refreshes = useRefreshes();
  const [attempt, setAttempt] = React.useState(0);
  const [loaded, setLoaded] = React.useState<{ sampleId: string; answer: Answer } | null>(null);

  const generation = `${refreshes} ${attempt}`;
  const knownGeneration = React.useRef(generation);
  React.useEffect(() => {
    if (knownGeneration.current !== generation) {
      knownGeneration.current = generation;
      cache.clear();
    }
    if (sampleId === null) return undefined;
    const known = cache.get(sampleId);
    if (known) {
      setLoaded({ sampleId, answer: known });
      return undefined;
    }
    let wanted = true;
    void callPython({ sample_id: sampleId }).then((result) => {
      const answer = readVideo(result);
      if (!("error" in answer)) {
        const [oldest] = cache.keys();
        if (oldest !== undefined && cache.size >= CACHED_VIDEOS) cache.delete(oldest);
        cache.set(sampleId, answer);
      }
      if (wanted) setLoaded({ sampleId, answer });
    });
    return () => {
      wanted = false;
    };
  }, [callPython, sampleId, generation]);

  const reload = React.useCallback(() => {
    setLoaded(null);
    setAttempt((n) => n + 1);
  }, []);
  return { answer: loaded?.sampleId === sampleId ? loaded.answer : null, reload };
}

function Content({ answer, reload }: { answer: Answer | null; reload: () => void }) {
  if (answer === null) {
    return (
      <div className="message" role="status">
        <span className="spinner" /> Loading the trees…
      </div>
    );
  }
  if ("error" in answer) {
    return (
      <div className="message" role="alert">
        <h2>The trees could not be loaded</h2>
        <p>{answer.error}</p>
        <button type="button" onClick={reload}>
          Retry
        </button>
      </div>
    );
  }
  if (answer.trees.every((tree) => tree.byId.size === 0)) {
    return (
      <div className="message" role="status">
        <h2>No trees yet</h2>
        <p>
          Make one for this video with the operator <code>annotate_videos</code>, or load
          Action100M’s annotations into the dataset.
        </p>
        <button type="button" onClick={reload}>
          Look again
        </button>
      </div>
    );
  }
  return <Trees video={answer} reload={reload} />;
}

const GROUND_TRUTH = "ground_truth";

function Trees({ video, reload }: { video: Video; reload: () => void }) {
  const { player, problem } = usePlayer();
  const [runName, setRunName] = React.useState<string | null>(null);
  const [wholeTrees, setWholeTrees] = React.useState(false);
  const [selection, setSelection] = React.useState<{ tree: string; node: TreeNode } | null>(null);

  const runs = video.trees.filter((tree) => tree.name !== GROUND_TRUTH);
  const run = runs.find((tree) => tree.name === runName) ?? runs[0];
  const shown = video.trees.filter((tree) => tree.name === GROUND_TRUTH || tree === run);
  const late = shown.filter((tree) => endsBeyond(tree.end, video));

  const [area, size] = useSize<HTMLDivElement>();
  const span = wholeTrees
    ? Math.max(video.duration, ...shown.map((tree) => tree.end))
    : video.duration;
  const rows = shown.reduce((sum, tree) => sum + tree.levels.length, 0);
  const depth = Math.max(...shown.map((tree) => tree.levels.length - 1));
  const height = rowHeight(size.height - RULER_HEIGHT - shown.length * HEADING_HEIGHT, rows);
  const width = Math.max(size.width - 2 * MARGIN, 0);
  const scale = React.useMemo<Scale>(
    () => ({ span, width, rowHeight: height, depth }),
    [span, width, height, depth],
  );

  const onSelect = React.useCallback(
    (tree: CaptionTree, node: TreeNode) => setSelection({ tree: tree.name, node }),
    [],
  );
  const seek = React.useCallback(
    (time: number) => player?.seekToFrame(frameAt(time, video)),
    [player, video],
  );
  const onSeek = React.useCallback((node: TreeNode) => seek(node.start), [seek]);
  const selectedTree = shown.find((tree) => tree.name === selection?.tree) ?? null;

  return (
    <>
      <header>
        <h2 title={video.title}>{video.title}</h2>
        <button type="button" className="quiet" title="Read the trees again" onClick={reload}>
          Reload
        </button>
      </header>
      {problem && (
        <p className="note" role="status">
          {problem}
        </p>
      )}
      {late.length > 0 && (
        <p className="note" role="note">
          <span>{beyondNote(late, video, wholeTrees)}</span>
          <button type="button" onClick={() => setWholeTrees(!wholeTrees)}>
            {wholeTrees ? "Show the clip only" : "Show all"}
          </button>
        </p>
      )}
      <div className="columns">
        <div className="timeline" ref={area}>
          <div className="canvas" style={{ marginInline: MARGIN, width }}>
            <Ruler scale={scale} onSeek={seek} />
            {shown.map((tree) => (
              <React.Fragment key={tree.name}>
                <div className="heading">
                  {tree.name !== GROUND_TRUTH && "Run"}
                  {tree === run && runs.length > 1 ? (
                    <select
                      aria-label="Run"
                      value={tree.name}
                      onChange={(event) => setRunName(event.target.value)}
                    >
                      {runs.map((r) => (
                        <option key={r.name} value={r.name}>
                          {r.label}
                        </option>
                      ))}
                    </select>
                  ) : (
                    <strong>{tree.label}</strong>
                  )}
                  <span className="size">{sizeOf(tree)}</span>
                </div>
                <Icicle
                  tree={tree}
                  scale={scale}
                  selected={tree === selectedTree && selection ? selection.node : null}
                  player={player}
                  fps={video.fps}
                  onSelect={onSelect}
                  onSeek={onSeek}
                />
              </React.Fragment>
            ))}
            {span > video.duration && (
              <div className="beyond" style={{ left: (video.duration / span) * width }} />
            )}
            <Playhead player={player} fps={video.fps} scale={scale} />
          </div>
        </div>
        <Details
          video={video}
          tree={selectedTree}
          node={selectedTree && selection ? selection.node : null}
        />
      </div>
    </>
  );
}

const MARGIN = 12;
const RULER_HEIGHT = 38;
const HEADING_HEIGHT = 30;

function sizeOf(tree: CaptionTree): string {
  const count = `${tree.byId.size} ${tree.byId.size === 1 ? "segment" : "segments"}`;
  const levels = `${tree.levels.length} ${tree.levels.length === 1 ? "level" : "levels"}`;
  return `${count}, ${levels}${tree.fromLabels ? ", rebuilt from labels" : ""}`;
}

function beyondNote(late: readonly CaptionTree[], video: Video, shown: boolean): string {
  const parts = late.map((tree) => {
    const hidden = nodesBeyond(tree, video);
    const count = `${hidden} ${hidden === 1 ? "segment" : "segments"}`;
    return `${tree.label} goes on to ${formatTime(tree.end)}${shown ? "" : ` (${count} not shown)`}`;
  });
  return `This clip ends at ${formatTime(video.duration)}. ${parts.join(", ")}.`;
}

const Ruler = React.memo(function Ruler(props: { scale: Scale; onSeek: (time: number) => void }) {
  const { span, width } = props.scale;
  const onClick = (event: React.MouseEvent<HTMLDivElement>) => {
    const { left } = event.currentTarget.getBoundingClientRect();
    props.onSeek(((event.clientX - left) / width) * span);
  };
  return (
    <div className="ruler" aria-hidden="true" onClick={onClick}>
      {ticks(span, width).map(({ time, label }) => (
        <span key={label} style={{ left: (time / span) * width }}>
          {label}
        </span>
      ))}
    </div>
  );
});

/** Redraws with every frame, alone. */
function Playhead(props: { player: Player | null; fps: number; scale: Scale }) {
  const frame = useFrame(props.player);
  if (frame === null) return null;
  const time = timeOf(frame, props.fps);
  const { span, width } = props.scale;
  const x = (time / span) * width;
  return (
    <div
      className={x > width / 2 ? "playhead left" : "playhead"}
      data-testid="playhead"
      data-time={time.toFixed(3)}
      style={{ transform: `translateX(${x}px)` }}
    >
      <output>{formatTime(time, 1)}</output>
    </div>
  );
}

function useSize<E extends Element>() {
  const element = React.useRef<E>(null);
  const [size, setSize] = React.useState({ width: 0, height: 0 });
  React.useLayoutEffect(() => {
    if (!element.current) return undefined;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setSize({ width: entry.contentRect.width, height: entry.contentRect.height });
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, size] as const;
}
