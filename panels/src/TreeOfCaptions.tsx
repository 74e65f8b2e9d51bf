import * as React from "react";
import {
  type Surface,
  useDockBesideVideo,
  usePython,
  useRefreshes,
  useSampleId,
  useSurface,
} from "./fiftyone";
import { readVideo, type Video } from "./model/tree";
import style from "./style.css";
import { Workbench } from "./Workbench";

/** The names to call the Python panel's methods by. */
export interface Methods {
  readonly get_trees: string;
  readonly get_counts: string;
  readonly review: string;
  readonly open_clips: string;
  readonly open_sample: string;
  readonly annotate: string;
}

interface Props {
  /** What the Python panel's `render` returned. */
  readonly schema: { readonly view: Methods };
}

export function TreeOfCaptions({ schema }: Props) {
  useDockBesideVideo();
  const surface = useSurface();
  const sampleId = useSampleId(surface);
  const python = usePython();
  const trees = useTrees(python(schema.view.get_trees), sampleId);
  return (
    <div className="a100m" data-testid="tree-of-captions" data-surface={surface}>
      <style>{style}</style>
      <div className="panel">
        <Content
          key={sampleId}
          {...trees}
          {...{ surface, sampleId, python }}
          methods={schema.view}
        />
      </div>
    </div>
  );
}

type Answer = Video | { readonly error: string };

/** What was read of a sample. */
interface Loaded {
  readonly sampleId: string;
  readonly answer: Answer;
  /** Why the long texts of very large trees could not be read. */
  readonly problem: string | null;
}

/** Videos by sample, so that going back to one, or docking, asks Python nothing. */
const cache = new Map<string, Video>();
const CACHED_NODES = 50_000;
/** Time for the first drawing, before the long texts of very large trees are asked for. */
const BEFORE_THE_REST_MS = 500;

function remember(sampleId: string, video: Video): void {
  cache.delete(sampleId);
  cache.set(sampleId, video); // the last now
  let nodes = 0;
  for (const [id, known] of [...cache].reverse()) {
    nodes += known.trees.reduce((sum, tree) => sum + tree.byId.size, 1);
    if (nodes > CACHED_NODES && id !== sampleId) cache.delete(id);
  }
}

function useTrees(
  callPython: (params: Readonly<Record<string, unknown>>) => Promise<unknown>,
  sampleId: string | null,
) {
  const refreshes = useRefreshes();
  const [attempt, setAttempt] = React.useState(0);
  const [loaded, setLoaded] = React.useState<Loaded | null>(null);
  const call = React.useRef(callPython);
  call.current = callPython;

  const open = React.useRef(sampleId);
  open.current = sampleId;
  // An answer may come when another sample is open already.
  const take = React.useCallback((id: string, answer: Answer) => {
    if (!("error" in answer)) remember(id, answer);
    if (id === open.current) setLoaded({ sampleId: id, answer, problem: null });
  }, []);
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
      take(sampleId, known);
      return undefined;
    }
    void call.current({ sample_id: sampleId }).then((result) => {
      if (knownGeneration.current === generation) take(sampleId, readVideo(result));
    });
    return undefined;
  }, [sampleId, generation]);

  // What is there is drawn before the rest is asked for.
  const current = loaded?.sampleId === sampleId ? loaded : null;
  React.useEffect(() => {
    if (!current || "error" in current.answer || current.answer.whole) return undefined;
    if (current.problem) return undefined;
    let wanted = true;
    const asking = setTimeout(() => {
      void call.current({ sample_id: current.sampleId, whole: true }).then((result) => {
        const answer = readVideo(result);
        if (!wanted) return;
        if ("error" in answer) setLoaded({ ...current, problem: answer.error });
        else take(current.sampleId, answer);
      });
    }, BEFORE_THE_REST_MS);
    return () => {
      wanted = false;
      clearTimeout(asking);
    };
  }, [current]);

  const reload = React.useCallback(() => {
    setLoaded(null);
    setAttempt((n) => n + 1);
  }, []);
  const askAgain = React.useCallback(
    () => setLoaded((known) => known && { ...known, problem: null }),
    [],
  );
  const { answer = null, problem = null } = current ?? {};
  return { answer, problem, askAgain, reload, take };
}

export interface ContentProps {
  readonly answer: Answer | null;
  /** Why the long texts are missing. */
  readonly problem: string | null;
  readonly surface: Surface;
  readonly sampleId: string | null;
  readonly methods: Methods;
  readonly python: ReturnType<typeof usePython>;
  reload(): void;
  /** Ask for the long texts again. */
  askAgain(): void;
  /** Put what Python has changed in place of what was read before. */
  take(sampleId: string, video: Video): void;
}

function Content(props: ContentProps) {
  const { answer, surface, sampleId, methods, python, reload } = props;
  if (sampleId === null) return <NothingSelected getCounts={python(methods.get_counts)} />;
  if (answer === null) {
    return (
      <Message role="status">
        <span className="spinner" /> Loading the trees…
        <button type="button" className="quiet" onClick={reload}>
          Ask again
        </button>
      </Message>
    );
  }
  if ("error" in answer) {
    return (
      <Message role="alert" title="The trees could not be loaded">
        <p>{answer.error}</p>
        <button type="button" onClick={reload}>
          Retry
        </button>
      </Message>
    );
  }
  if (answer.trees.length === 0) return <NoTrees {...props} title={answer.title} />;
  return <Workbench key={surface} {...props} sampleId={sampleId} video={answer} />;
}

function Message(props: { role: "status" | "alert"; title?: string; children: React.ReactNode }) {
  return (
    <div className="message" role={props.role}>
      {props.title && <h2>{props.title}</h2>}
      {props.children}
    </div>
  );
}

function NoTrees(props: ContentProps & { title: string }) {
  const { methods, python, sampleId, reload } = props;
  const [problem, setProblem] = React.useState<string | null>(null);
  const annotate = async () =>
    setProblem(errorOf(await python(methods.annotate)({ sample_id: sampleId })));
  return (
    <Message role="status" title="No trees yet">
      <p>
        “{props.title}” has no Tree-of-Captions. Make one with the operator{" "}
        <code>annotate_videos</code>, or load Action100M’s annotations into the dataset.
      </p>
      <p className="actions">
        <button type="button" className="primary" onClick={() => void annotate()}>
          Annotate this video
        </button>
        <button type="button" onClick={reload}>
          Look again
        </button>
      </p>
      {problem && <p className="warning">{problem}</p>}
    </Message>
  );
}

/** The sentence of an answer that is an error. */
export function errorOf(answer: unknown): string | null {
  const { error } = (answer ?? {}) as { error?: unknown };
  return typeof error === "string" ? error : null;
}

interface Counts {
  readonly dataset?: string;
  readonly videos?: number;
  readonly trees?: readonly { readonly label: string; readonly count: number }[];
  readonly error?: string;
}

/** Beside the grid, until a sample is selected. */
function NothingSelected(props: {
  getCounts: (params: Readonly<Record<string, unknown>>) => Promise<unknown>;
}) {
  const refreshes = useRefreshes();
  const [counts, setCounts] = React.useState<Counts | null>(null);
  const call = React.useRef(props.getCounts);
  React.useEffect(() => {
    let wanted = true;
    void call.current({}).then((answer) => wanted && setCounts((answer ?? {}) as Counts));
    return () => {
      wanted = false;
    };
  }, [refreshes]);
  return (
    <Message role="status" title="Select a video to see its trees">
      <p>
        Tick the box of a video in the grid; its trees appear here. Open it to see them beside the
        video.
      </p>
      {counts?.error && <p className="warning">{counts.error}</p>}
      {counts && !counts.error && (
        <table data-testid="counts">
          <caption>{counts.dataset}</caption>
          <tbody>
            <tr>
              <th scope="row">Videos</th>
              <td>{counts.videos}</td>
            </tr>
            {counts.trees?.map(({ label, count }) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                <td>{count}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Message>
  );
}
