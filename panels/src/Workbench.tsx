import * as React from "react";
import { Axis, axisWidth, heightAround } from "./Axis";
import { useComparison } from "./comparison";
import { Details } from "./Details";
import { type Palette, paletteOf } from "./draw";
import { ExportMenu } from "./ExportMenu";
import { useDisagreements, useFinding } from "./finding";
import { usePlayer, usePlayhead, useSeek, useTheme } from "./fiftyone";
import { useSize } from "./hooks";
import { type Keys, pressed } from "./keyboard";
import { type Hover, Tooltip } from "./Lane";
import { rowsOf } from "./model/filters";
import { neighbour, rowHeight as heightOf } from "./model/layout";
import {
  captionOf,
  type CaptionTree,
  endsBeyond,
  formatTime,
  frameAt,
  readVideo,
  shorten,
  type TreeNode,
  type Video,
} from "./model/tree";
import { clamp, fit, panBy, reveal, spanOf, type Viewport, zoomAt } from "./model/viewport";
import { Note } from "./Notes";
import { useFollow, usePaths } from "./playhead";
import type { Act } from "./ReviewForm";
import { useSegmentPlayer } from "./segment";
import { change, lastViewport, settings as storedSettings } from "./settings";
import { Store, useStore } from "./store";
import { ColourChoice, FilterForm, Legend, Search } from "./Toolbar";
import { beyondNote, chosenTrees, Now } from "./Trees";
import { type ContentProps, errorOf } from "./TreeOfCaptions";

type Props = Omit<ContentProps, "answer" | "sampleId"> & {
  readonly video: Video;
  readonly sampleId: string;
};

interface Selection {
  /** By name and id: trees are read anew when a person has changed one. */
  readonly tree: string;
  readonly id: string;
}

/** The trees of one video and everything that can be done with them. */
export function Workbench(props: Props) {
  const { video, sampleId, surface, methods, python, reload, take } = props;
  const settings = useStore(storedSettings);
  const theme = useTheme();
  const { player, problem, leaveAnnotateMode } = usePlayer(surface);
  const playhead = usePlayhead(player, video.fps);
  const [wholeTrees, setWholeTrees] = React.useState(false);
  const [selection, setSelection] = React.useState<Selection | null>(null);
  const [filtersOpen, setFiltersOpen] = React.useState(false);
  const [notice, setNotice] = React.useState<string | null>(null);

  // -- which trees --------------------------------------------------------------------------
  const { trees } = video;
  const shown = React.useMemo(() => {
    const [upper, lower] = chosenTrees(trees, settings.upper, settings.lower);
    return lower ? [upper, lower] : [upper];
  }, [trees, settings.upper, settings.lower]);
  const otherOf = (tree: CaptionTree) => shown.find((t) => t !== tree) ?? null;
  const late = shown.filter((tree) => endsBeyond(tree.end, video));
  const end = wholeTrees ? Math.max(video.duration, ...late.map((t) => t.end)) : video.duration;
  const rows = React.useMemo(
    () => shown.map((tree) => rowsOf(tree, settings.filters, end)),
    [shown, settings.filters, end],
  );
  const comparison = useComparison(shown, settings.colourBy, theme);
  const { matchOf, colours } = comparison;
  const drawn = React.useMemo(
    () => shown.map((tree, i) => ({ tree, rows: rows[i]!, colours: colours[i]! })),
    [shown, rows, colours],
  );

  // -- the axis -----------------------------------------------------------------------------
  const view = React.useMemo(() => {
    const all = { from: 0, to: end };
    return new Store<Viewport>(clamp(lastViewport.get() ?? all, end));
  }, [end]);
  React.useEffect(
    () =>
      view.subscribe(() => {
        const now = view.get();
        lastViewport.set(spanOf(now) >= end * 0.999 ? null : now);
      }),
    [view, end],
  );
  const element = React.useRef<HTMLDivElement>(null);
  const columns = React.useRef<HTMLDivElement>(null);
  const timeline = React.useRef<HTMLDivElement>(null);
  const size = useSize(columns);
  const beside = size.width > 1.4 * size.height && size.width > 900;
  const room = size.height * (beside ? 1 : 0.62) - heightAround(shown.length, video);
  const rowHeight = heightOf(rows.flat().length, room);
  const [palette, setPalette] = React.useState<Palette | null>(null);
  React.useLayoutEffect(() => {
    if (element.current) setPalette(paletteOf(element.current));
  }, [theme]);

  // -- selecting ----------------------------------------------------------------------------
  const selectedTree = shown.find((tree) => tree.name === selection?.tree) ?? null;
  const selected = (selection && selectedTree?.byId.get(selection.id)) ?? null;
  const match = selectedTree && selected ? matchOf(selectedTree, selected) : null;
  /** The tree that is acted on. */
  const current = selectedTree ?? shown[0]!;
  const hover = React.useMemo(() => new Store<Hover | null>(null), [shown]);

  /** Selecting never moves the view along the time axis; what steps from one to the next does. */
  const select = React.useCallback(
    (tree: CaptionTree, node: TreeNode, bringOnScreen = false) => {
      setSelection({ tree: tree.name, id: node.node_id });
      if (bringOnScreen) view.set(reveal(view.get(), node.start, Math.min(node.end, end), end));
    },
    [view, end],
  );
  const fitSelected = () => {
    if (selected) view.set(fit(selected.start, Math.min(selected.end, end), end));
  };
  const finding = useFinding(shown, rows, video.transcript, selected, select);
  const goToDisagreement = useDisagreements(shown, rows, comparison.scoreOf, selected, select);
  const disagree = (by: 1 | -1) =>
    setNotice(goToDisagreement(by) ? null : "The segments that are shown do not disagree.");

  // -- in step with the video ---------------------------------------------------------------
  const paths = usePaths(shown, playhead, video.fps);
  useFollow(settings.follow, playhead, view, end);
  const seekToFrame = useSeek(player);
  const segment = useSegmentPlayer(player, video, seekToFrame);
  const seek = React.useCallback(
    (time: number) => {
      if (!player) return;
      segment.stop();
      seekToFrame(frameAt(time, video));
    },
    [player, segment.stop, seekToFrame, video],
  );

  // -- the keyboard and the mouse -----------------------------------------------------------
  const onClick = React.useCallback(
    (tree: CaptionTree, node: TreeNode, event: React.MouseEvent) => {
      select(tree, node);
      if (event.shiftKey && player) segment.play(node, false);
      else seek(node.start);
    },
    [select, player, segment.play, seek],
  );
  const searchInput = React.useRef<HTMLInputElement>(null);
  const zoom = (factor: number) => {
    const [now, time] = [view.get(), playhead.time.get()];
    const inside = time !== null && time >= now.from && time <= now.to;
    view.set(zoomAt(now, end, inside ? time : (now.from + now.to) / 2, factor));
  };
  const move = (screens: number) => view.set(panBy(view.get(), end, screens * spanOf(view.get())));
  const arrow = (key: string) => (tree: CaptionTree) => {
    const treeRows = rows[shown.indexOf(tree)]!;
    const known = tree === selectedTree ? selected : null;
    const target = known ? neighbour(tree, treeRows, known, key) : treeRows[0]?.nodes[0];
    if (target) select(tree, target, true);
  };
  const play = (loop: boolean) => selected && player && segment.play(selected, loop);
  const keys: Keys = {
    ArrowLeft: arrow("ArrowLeft"),
    ArrowRight: arrow("ArrowRight"),
    ArrowUp: arrow("ArrowUp"),
    ArrowDown: arrow("ArrowDown"),
    Enter: (tree, shift) => {
      if (!selected || tree !== selectedTree) return;
      if (shift) play(false);
      else seek(selected.start);
    },
    p: () => play(false),
    l: () => (segment.playing?.loop ? segment.stop() : play(true)),
    w: () => zoom(1.5),
    s: () => zoom(1 / 1.5),
    a: () => move(-0.2),
    d: () => move(0.2),
    f: fitSelected,
    "0": () => view.set({ from: 0, to: end }),
    n: (_, shift) => shown.length > 1 && disagree(shift ? -1 : 1),
    m: (tree) => {
      const other = otherOf(tree);
      if (!match || !other || tree !== selectedTree) return;
      select(other, match.node, true);
      timeline.current
        ?.querySelector<HTMLElement>(`[data-tree="${CSS.escape(other.name)}"]`)
        ?.focus();
    },
    "/": () => searchInput.current?.focus(),
  };

  // -- acting -------------------------------------------------------------------------------
  const act: Act = React.useCallback(
    async (tree, node, edit) => {
      const answer = await python(methods.review)({
        sample_id: sampleId,
        tree: tree.name,
        node_id: node.node_id,
        ...edit,
        whole: video.whole,
      });
      const changed = readVideo(answer);
      if ("error" in changed) return changed.error;
      take(sampleId, changed);
      return null;
    },
    [python, methods.review, sampleId, video.whole, take],
  );
  const clipsLevel = selected?.level ?? rows[0]?.at(-1)?.level ?? null;
  const openClips = async () => {
    const node_ids = rows[shown.indexOf(current)]!.flatMap((row) => row.nodes)
      .filter(({ level, start }) => level === (clipsLevel ?? level) && start < video.duration)
      .map((node) => node.node_id);
    const params = { sample_id: sampleId, tree: current.name, node_ids };
    setNotice(errorOf(await python(methods.open_clips)(params)));
  };

  const say = (over: Hover): readonly string[] => {
    const found = matchOf(over.tree, over.node);
    const other = otherOf(over.tree);
    return [
      shorten(captionOf(over.node), 160),
      `${formatTime(over.node.start, 2)} – ${formatTime(over.node.end, 2)}, level ${over.node.level}`,
      ...(found && other
        ? [`IoU ${found.iou.toFixed(2)} with ${other.label}: ${shorten(captionOf(found.node), 80)}`]
        : other
          ? [`${other.label} has nothing here`]
          : []),
    ];
  };

  const total = shown.flatMap((tree) => tree.levels.flat()).filter((n) => n.start < end).length;
  const count = rows.flat().reduce((sum, row) => sum + row.nodes.length, 0);
  return (
    <div
      className="workbench"
      ref={element}
      onKeyDown={(event) => pressed(event, keys, shown, current)}
    >
      <header>
        <h2 title={video.title}>{video.title}</h2>
        {surface === "grid" && (
          <button
            type="button"
            onClick={() => void python(methods.open_sample)({ sample_id: sampleId })}
          >
            Open the video
          </button>
        )}
        <button type="button" className="quiet" title="Read the trees again" onClick={reload}>
          Reload
        </button>
      </header>
      <div className="toolbar" role="toolbar" aria-label="Trees">
        <Search {...finding} input={searchInput} whole={video.whole} />
        <button
          type="button"
          aria-expanded={filtersOpen}
          onClick={() => setFiltersOpen(!filtersOpen)}
        >
          Filters{count < total ? ` (${count} of ${total})` : ""}
        </button>
        <ColourChoice colourBy={comparison.colourBy} available={comparison.available} />
        {shown.length > 1 && (
          <button
            type="button"
            title="Those with the most unmatched seconds first (N)"
            onClick={() => disagree(1)}
          >
            Next disagreement
          </button>
        )}
        <ExportMenu
          {...{ view, rowHeight, palette }}
          title={video.title}
          shown={drawn}
          whole={video.whole}
          width={() => axisWidth(timeline.current?.clientWidth ?? 0)}
          clips={{ level: clipsLevel, of: current.label }}
          openClips={() => void openClips()}
        />
      </div>
      {filtersOpen && (
        <FilterForm
          settings={settings}
          depth={Math.max(...shown.map((tree) => tree.levels.length - 1))}
          shown={`${count} of ${total} segments`}
        />
      )}
      {problem && (
        <Note
          role="status"
          button={leaveAnnotateMode ? "Switch to Explore" : undefined}
          onClick={leaveAnnotateMode ?? undefined}
        >
          {problem}
        </Note>
      )}
      {props.problem && (
        <Note role="alert" button="Retry" onClick={props.askAgain}>
          {`The long texts could not be read: ${props.problem}`}
        </Note>
      )}
      {notice && (
        <Note role="alert" button="Close" onClick={() => setNotice(null)}>
          {notice}
        </Note>
      )}
      {late.length > 0 && (
        <Note
          role="note"
          button={wholeTrees ? "Show the clip only" : "Show all"}
          onClick={() => setWholeTrees(!wholeTrees)}
        >
          {beyondNote(late, video, wholeTrees)}
        </Note>
      )}
      {player && (
        <nav className="now" aria-label="Now">
          <label className="check" title="Keep the playhead on screen while it moves">
            <input
              type="checkbox"
              checked={settings.follow}
              onChange={({ target }) => change({ follow: target.checked })}
            />
            Follow
          </label>
          {shown.map((tree, i) => (
            <Now key={tree.name} tree={tree} path={paths[i]!} onSelect={select} />
          ))}
          {segment.playing && (
            <p className="playing" role="status">
              {segment.playing.loop ? "Looping" : "Playing"}{" "}
              {formatTime(segment.playing.node.start, 1)} –{" "}
              {formatTime(segment.playing.node.end, 1)}
              <button type="button" className="quiet" onClick={segment.stop}>
                Let it play on
              </button>
            </p>
          )}
        </nav>
      )}
      <div className={beside ? "columns beside" : "columns"} ref={columns}>
        <div className="trees" style={{ maxHeight: beside ? undefined : "64%" }}>
          {palette && (
            <Axis
              {...{ video, timeline, view, end, rowHeight, palette, playhead, paths }}
              {...{ finding, hover, onClick }}
              shown={drawn}
              selected={selectedTree && selected && { tree: selectedTree, node: selected }}
              matchOf={(tree, node) => matchOf(tree, node)?.node ?? null}
              onDoubleClick={fitSelected}
              onSeek={seek}
            />
          )}
          <Legend entries={colours[0]!.legend} />
        </div>
        <Details
          video={video}
          tree={selectedTree}
          node={selected}
          other={selectedTree && otherOf(selectedTree)}
          match={match}
          textScore={selectedTree && selected && comparison.scores.text(selectedTree, selected)}
          pattern={finding.pattern}
          act={act}
          onSelect={select}
        />
      </div>
      <Tooltip hover={hover} say={say} />
    </div>
  );
}
