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
  useSeek,
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
  rowsOf,
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
  const [runName, setRunName] = React.useState<string | null>(null);
  return (
    <div className="a100m" data-testid="tree-of-captions">
      <style>{style}</style>
      <Content key={sampleId} {...{ answer, reload, runName, setRunName }} />
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

interface ContentProps {
  readonly answer: Answer | null;
  readonly reload: () => void;
  /** The run that was chosen last, which stays chosen from video to video. */
  readonly runName: string | null;
  readonly setRunName: (name: string) => void;
}

function Content({ answer, reload, runName, setRunName }: ContentProps) {
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
  if (answer.trees.length === 0) {
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
  return <Trees video={answer} {...{ reload, runName, setRunName }} />;
}

const GROUND_TRUTH = "ground_truth";

type TreesProps = Omit<ContentProps, "answer"> & { readonly video: Video };

function Trees({ video, reload, runName, setRunName }: TreesProps) {
  const { player, problem } = usePlayer();
  const [wholeTrees, setWholeTrees] = React.useState(false);
  const [selection, setSelection] = React.useState<{ tree: string; node: TreeNode } | null>(null);

  const runs = video.trees.filter((tree) => tree.name !== GROUND_TRUTH);
  const run = runs.find((tree) => tree.name === runName) ?? runs[0];
  const shown = video.trees.filter((tree) => tree.name === GROUND_TRUTH || tree === run);
  const late = shown.filter((tree) => endsBeyond(tree.end, video));

  const [columns, { width: wide, height: high }] = useSize<HTMLDivElement>();
  const [timeline, { width: outer }] = useSize<HTMLDivElement>();
  const beside = wide > 1.5 * high; // the details are beside the timeline, or under it
  const timelineHeight = Math.floor(beside ? high : high * 0.64);
  const span = wholeTrees
    ? Math.max(video.duration, ...shown.map((tree) => tree.end))
    : video.duration;
  const width = Math.max(outer - 2 * MARGIN, 0);
  const depth = Math.max(...shown.map((tree) => tree.levels.length - 1));
  const scale = React.useMemo<Scale>(() => ({ span, width, depth }), [span, width, depth]);
  const rowsHeight = timelineHeight - RULER_HEIGHT - shown.length * HEADING_HEIGHT - MARGIN;
  const rows = rowsOf(shown, span, width, rowsHeight);

  const onSelect = React.useCallback(
    (tree: CaptionTree, node: TreeNode) => setSelection({ tree: tree.name, node }),
    [],
  );
  const seekToFrame = useSeek(player);
  const seek = React.useCallback(
    (time: number) => {
      if (!problem) seekToFrame(frameAt(time, video));
    },
    [seekToFrame, problem, video],
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
      <div className={beside ? "columns beside" : "columns"} ref={columns}>
        <div className="timeline" ref={timeline} style={{ maxHeight: timelineHeight }}>
          <div className="canvas" style={{ marginInline: MARGIN, width }}>
            <Ruler scale={scale} onSeek={seek} />
            {shown.map((tree, i) => (
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
                  rows={rows[i]!}
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
          {(time / span) * width < width - 36 ? label : null}
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
    const measured = element.current;
    if (!measured) return undefined;
    const measure = () =>
      setSize({ width: measured.clientWidth, height: measured.clientHeight });
    measure(); // before the first paint; the observer calls back after it
    const observer = new ResizeObserver(measure);
    observer.observe(measured);
    return () => observer.disconnect();
  }, []);
  return [element, size] as const;
}
