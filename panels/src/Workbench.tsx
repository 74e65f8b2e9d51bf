import * as React from "react";
import { Details } from "./Details";
import { type Palette, paletteOf } from "./draw";
import { download, fileName, picture } from "./files";
import { usePlayer, usePlayhead, useSeek, useTheme } from "./fiftyone";
import { useSize } from "./hooks";
import { type Hover, Lane, Tooltip } from "./Lane";
import { useComparison } from "./comparison";
import { toJson, toMarkdown, toSvg } from "./model/exports";
import { rowsOf } from "./model/filters";
import { neighbour, rowHeight as heightOf } from "./model/layout";
import { disagreements } from "./model/matching";
import { find, inOrder, patternOf } from "./model/search";
import {
  captionOf,
  type CaptionTree,
  endsBeyond,
  formatTime,
  frameAt,
  pathAt,
  readVideo,
  shorten,
  type TreeNode,
  type Video,
} from "./model/tree";
import { clamp, fit, follow, panBy, reveal, spanOf, type Viewport, zoomAt } from "./model/viewport";
import type { Act } from "./ReviewForm";
import { change, lastViewport, settings as storedSettings } from "./settings";
import { useSegmentPlayer } from "./segment";
import { Store, useStore } from "./store";
import {
  Minimap,
  PlayheadLine,
  Ruler,
  RULER_HEIGHT,
  Transcript,
  TRANSCRIPT_HEIGHT,
  useGestures,
} from "./Timeline";
import { ColourChoice, FilterForm, Legend, Menu, Search } from "./Toolbar";
import { Beyond, beyondNote, chosenTrees, Now, sizeOf, TreeChoice } from "./Trees";
import { type ContentProps, errorOf } from "./TreeOfCaptions";

const MARGIN = 12;
const HEADING_HEIGHT = 30;
const NO_PATH: readonly TreeNode[] = [];

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
  const { video, sampleId, surface, methods, python, reload, replace } = props;
  const settings = useStore(storedSettings);
  const theme = useTheme();
  const { player, problem, leaveAnnotateMode } = usePlayer(surface);
  const playhead = usePlayhead(player, video.fps);
  const [wholeTrees, setWholeTrees] = React.useState(false);
  const [selection, setSelection] = React.useState<Selection | null>(null);
  const [query, setQuery] = React.useState("");
  const [filtersOpen, setFiltersOpen] = React.useState(false);
  const [notice, setNotice] = React.useState<string | null>(null);

  // -- which trees --------------------------------------------------------------------------
  const { trees } = video;
  const [upper, lower] = React.useMemo(
    () => chosenTrees(trees, settings.upper, settings.lower),
    [trees, settings.upper, settings.lower],
  );
  const shown = React.useMemo(() => (lower ? [upper, lower] : [upper]), [upper, lower]);
  const otherOf = (tree: CaptionTree) => shown.find((t) => t !== tree) ?? null;

  // -- the axis -----------------------------------------------------------------------------
  const late = shown.filter((tree) => endsBeyond(tree.end, video));
  const end = wholeTrees ? Math.max(video.duration, ...late.map((t) => t.end)) : video.duration;
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
  const [columns, columnsSize] = useSize<HTMLDivElement>();
  const [timeline, { width: timelineWidth }] = useSize<HTMLDivElement>();
  const width = Math.max(timelineWidth - 2 * MARGIN, 1);
  const gestures = useGestures({ view, end, width });

  // -- what is shown of them ----------------------------------------------------------------
  const rows = React.useMemo(
    () => shown.map((tree) => rowsOf(tree, settings.filters)),
    [shown, settings.filters],
  );
  const beside = columnsSize.width > 1.4 * columnsSize.height && columnsSize.width > 900;
  const room =
    columnsSize.height * (beside ? 1 : 0.62) -
    RULER_HEIGHT -
    (video.transcript.length ? TRANSCRIPT_HEIGHT : 0) -
    HEADING_HEIGHT * shown.length -
    70;
  const rowHeight = heightOf(rows.flat().length, room);

  const { matchOf, scores, scoreOf, colours, colourBy, available } = useComparison(
    shown,
    settings.colourBy,
    theme,
  );
  const mapped = React.useMemo(
    () => rows.map((each, i) => ({ rows: each, colours: colours[i]! })),
    [rows, colours],
  );

  const element = React.useRef<HTMLDivElement>(null);
  const [palette, setPalette] = React.useState<Palette | null>(null);
  React.useLayoutEffect(() => {
    if (element.current) setPalette(paletteOf(element.current));
  }, [theme]);

  // -- selecting ----------------------------------------------------------------------------
  const selectedTree = shown.find((tree) => tree.name === selection?.tree) ?? null;
  const selected = (selection && selectedTree?.byId.get(selection.id)) ?? null;
  const match = selectedTree && selected ? matchOf(selectedTree, selected) : null;
  const hover = React.useMemo(() => new Store<Hover | null>(null), [shown]);

  /** Selecting never moves the view along the time axis; what steps from one to the next does. */
  const select = React.useCallback(
    (tree: CaptionTree, node: TreeNode, bringOnScreen = false) => {
      setSelection({ tree: tree.name, id: node.node_id });
      if (bringOnScreen) view.set(reveal(view.get(), node.start, Math.min(node.end, end), end));
    },
    [view, end],
  );
  React.useEffect(() => {
    const lane = timeline.current?.querySelector(
      `[data-tree="${CSS.escape(selection?.tree ?? "")}"]`,
    );
    const level =
      selected && rows[shown.indexOf(selectedTree!)]?.findIndex((r) => r.nodes.includes(selected));
    if (!lane || !timeline.current || level === null || level === undefined || level < 0) return;
    const top = lane.getBoundingClientRect().top + level * rowHeight;
    const box = timeline.current.getBoundingClientRect();
    const covered = RULER_HEIGHT + (video.transcript.length ? TRANSCRIPT_HEIGHT : 0);
    if (top < box.top + covered) timeline.current.scrollTop += top - box.top - covered;
    else if (top + rowHeight > box.bottom)
      timeline.current.scrollTop += top + rowHeight - box.bottom;
  }, [selection]);

  // -- in step with the video ---------------------------------------------------------------
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
  const paths = React.useMemo(
    () => shown.map(() => new Store<readonly TreeNode[]>(NO_PATH)),
    [shown],
  );
  React.useEffect(() => {
    const update = () => {
      const frame = playhead.frame.get();
      shown.forEach((tree, i) => {
        const path = frame === null ? NO_PATH : pathAt(tree, frame, video.fps);
        const store = paths[i]!;
        if (!sameNodes(path, store.get())) store.set(path);
      });
    };
    update();
    return playhead.frame.subscribe(update);
  }, [playhead, shown, paths, video.fps]);
  React.useEffect(() => {
    if (!settings.follow) return undefined;
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
  }, [settings.follow, playhead, view, end]);

  // -- finding ------------------------------------------------------------------------------
  const pattern = React.useMemo(() => patternOf(query), [query]);
  const hits = React.useMemo(
    () =>
      pattern &&
      inOrder(
        shown.flatMap((tree, i) =>
          find(
            rows[i]!.flatMap((row) => row.nodes),
            pattern,
          ).map((node) => ({ tree, node })),
        ),
      ),
    [pattern, shown, rows],
  );
  const hitSet = React.useMemo(() => hits && new Set(hits.map(({ node }) => node)), [hits]);
  const hitLines = React.useMemo(
    () => new Set(pattern ? video.transcript.filter(({ text }) => text.search(pattern) >= 0) : []),
    [pattern, video],
  );
  const hitAt = hits?.findIndex(({ node }) => node === selected) ?? -1;
  const step = (by: 1 | -1) => {
    if (!hits?.length) return;
    const from = hitAt >= 0 ? hitAt + by : by > 0 ? 0 : hits.length - 1;
    const { tree, node } = hits[(from + hits.length) % hits.length]!;
    select(tree, node, true);
  };
  const searchInput = React.useRef<HTMLInputElement>(null);

  const worst = React.useMemo(
    () =>
      shown
        .flatMap((tree, i) => {
          const nodes = rows[i]!.flatMap((row) => row.nodes).filter((n) => n.start < end);
          return disagreements(nodes, (node) => scoreOf(tree, node)).map((d) => ({ tree, ...d }));
        })
        .sort((a, b) => lostSeconds(b) - lostSeconds(a)),
    [shown, rows, scoreOf, end],
  );
  const worstAt = worst.findIndex(({ node }) => node === selected);
  const nextDisagreement = (by: 1 | -1) => {
    if (!worst.length) return;
    const { tree, node } = worst[(worstAt + by + worst.length) % worst.length]!;
    select(tree, node, true);
  };

  // -- the keyboard and the mouse -----------------------------------------------------------
  const onClick = React.useCallback(
    (tree: CaptionTree, node: TreeNode, event: React.MouseEvent) => {
      select(tree, node);
      if (event.shiftKey && player) segment.play(node, false);
      else seek(node.start);
    },
    [select, player, segment.play, seek],
  );
  const onDoubleClick = () => {
    if (selected) view.set(fit(selected.start, Math.min(selected.end, end), end));
  };
  /** What a key does; false where it does nothing here. */
  const press = (tree: CaptionTree, key: string, shift: boolean): boolean => {
    const now = view.get();
    const middle = (now.from + now.to) / 2;
    const time = playhead.time.get();
    const around = time !== null && time >= now.from && time <= now.to ? time : middle;
    const node = selectedTree === tree ? selected : null;
    switch (key) {
      case "ArrowLeft":
      case "ArrowRight":
      case "ArrowUp":
      case "ArrowDown": {
        const treeRows = rows[shown.indexOf(tree)]!;
        const target = node ? neighbour(tree, treeRows, node, key, end) : treeRows[0]?.nodes[0];
        if (target) select(tree, target, true);
        return true;
      }
      case "Enter":
        if (node && shift && player) segment.play(node, false);
        else if (node) seek(node.start);
        return true;
      case "p":
        if (selected && player) segment.play(selected, false);
        return true;
      case "l":
        if (segment.playing?.loop) segment.stop();
        else if (selected && player) segment.play(selected, true);
        return true;
      case "w":
        view.set(zoomAt(now, end, around, 1.5));
        return true;
      case "s":
        view.set(zoomAt(now, end, around, 1 / 1.5));
        return true;
      case "a":
        view.set(panBy(now, end, -0.2 * spanOf(now)));
        return true;
      case "d":
        view.set(panBy(now, end, 0.2 * spanOf(now)));
        return true;
      case "f":
        onDoubleClick();
        return true;
      case "0":
        view.set({ from: 0, to: end });
        return true;
      case "n":
        nextDisagreement(shift ? -1 : 1);
        return true;
      case "m": {
        const other = otherOf(tree);
        if (match && other && selectedTree === tree) {
          select(other, match.node, true);
          timeline.current
            ?.querySelector<HTMLElement>(`[data-tree="${CSS.escape(other.name)}"]`)
            ?.focus();
        }
        return true;
      }
      case "/":
        searchInput.current?.focus();
        return true;
      default:
        return false;
    }
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const target = event.target as Element;
    if (target.closest("input, select, summary, [role=menu]")) return;
    const name = target.closest<HTMLElement>("[data-tree]")?.dataset.tree;
    const inTree = shown.find((tree) => tree.name === name);
    // Elsewhere these scroll, or press a button.
    if (!inTree && (event.key.startsWith("Arrow") || event.key === "Enter")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!press(inTree ?? selectedTree ?? upper, key, event.shiftKey)) return;
    // The App has shortcuts of its own: it would move to another sample on an arrow key.
    event.preventDefault();
    event.stopPropagation();
  };

  // -- acting -------------------------------------------------------------------------------
  const act: Act = React.useCallback(
    async (tree, node, edit) => {
      const answer = await python(methods.review)({
        sample_id: sampleId,
        tree: tree.name,
        node_id: node.node_id,
        ...edit,
      });
      const changed = readVideo(answer);
      if ("error" in changed) return changed.error;
      replace(sampleId, changed);
      return null;
    },
    [python, methods.review, sampleId, replace],
  );
  const files = () => shown.map((tree, i) => ({ tree, rows: rows[i]!, colours: colours[i]! }));
  const save = (ending: string, content: string | Blob) =>
    download(content, `${fileName(video.title)}.${ending}`);
  const level = selected?.level ?? rows[0]?.at(-1)?.level ?? null;
  const clipsTree = selectedTree ?? upper;
  const openClips = async () => {
    const visible = rows[shown.indexOf(clipsTree)]!.flatMap((row) => row.nodes);
    const node_ids = visible
      .filter((node) => (level === null || node.level === level) && node.start < video.duration)
      .map((node) => node.node_id);
    const params = { sample_id: sampleId, tree: clipsTree.name, node_ids };
    setNotice(errorOf(await python(methods.open_clips)(params)));
  };
  const savePng = () => {
    if (palette)
      picture(video.title, files(), view.get(), width, rowHeight, palette, (b) => save("png", b));
  };
  const exports = [
    { label: "PNG", run: savePng },
    {
      label: "SVG",
      run: () => palette && save("svg", toSvg(video.title, files(), view.get(), palette)),
    },
    { label: "Markdown", run: () => save("md", toMarkdown(video.title, files(), view.get())) },
    { label: "JSON", run: () => save("json", toJson(video.title, files(), view.get())) },
    {
      label: `Open as clips: ${level === null ? "leaves" : `level ${level}`}`,
      title: `The shown segments of ${clipsTree.label} as a view of clips`,
      run: () => void openClips(),
    },
  ];

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

  const total = shown.reduce((sum, tree) => sum + tree.byId.size, 0);
  const count = rows.flat().reduce((sum, row) => sum + row.nodes.length, 0);
  const depth = Math.max(...shown.map((tree) => tree.levels.length - 1));
  return (
    <div className="workbench" ref={element} onKeyDown={onKeyDown}>
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
        <Search
          {...{ query, setQuery, step }}
          input={searchInput}
          count={hits?.length ?? 0}
          at={hitAt}
          inTranscript={hitLines.size}
        />
        <button
          type="button"
          aria-expanded={filtersOpen}
          onClick={() => setFiltersOpen(!filtersOpen)}
        >
          Filters{count < total ? ` (${count} of ${total})` : ""}
        </button>
        <ColourChoice colourBy={colourBy} available={available} />
        {shown.length > 1 && (
          <button
            type="button"
            title="Those with the most unmatched seconds first (N)"
            onClick={() => nextDisagreement(1)}
            disabled={!worst.length}
          >
            Next disagreement
          </button>
        )}
        <Menu label="Export" items={exports} />
      </div>
      {filtersOpen && (
        <FilterForm settings={settings} depth={depth} shown={`${count} of ${total} segments`} />
      )}
      {problem && (
        <p className="note" role="status">
          <span>{problem}</span>
          {leaveAnnotateMode && (
            <button type="button" onClick={leaveAnnotateMode}>
              Switch to Explore
            </button>
          )}
        </p>
      )}
      {notice && (
        <p className="note" role="alert">
          <span>{notice}</span>
          <button type="button" onClick={() => setNotice(null)}>
            Close
          </button>
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
            <div className="map" style={{ marginInline: MARGIN }}>
              <Minimap {...{ view, width, palette, end }} trees={mapped} />
            </div>
          )}
          <div className="timeline" ref={timeline}>
            <div
              className="axis"
              data-testid="axis"
              ref={gestures}
              style={{ marginInline: MARGIN, width }}
              onDoubleClick={onDoubleClick}
            >
              {palette && (
                <>
                  <div className="top">
                    <Ruler {...{ view, width, palette }} onSeek={seek} />
                    {video.transcript.length > 0 && (
                      <Transcript
                        {...{ view, width, palette }}
                        lines={video.transcript}
                        hits={hitLines}
                        onSeek={seek}
                      />
                    )}
                  </div>
                  {shown.map((tree, i) => (
                    <React.Fragment key={i}>
                      <div className="heading">
                        <TreeChoice
                          trees={trees}
                          chosen={tree}
                          lower={i === 1}
                          onChoose={(name) => change(i === 0 ? { upper: name } : { lower: name })}
                        />
                        <span className="size">{sizeOf(tree)}</span>
                      </div>
                      <Lane
                        key={tree.name}
                        {...{ tree, rowHeight, width, view, palette, hover, onClick }}
                        rows={rows[i]!}
                        colours={colours[i]!}
                        hits={hitSet}
                        path={paths[i]!}
                        selected={tree === selectedTree ? selected : null}
                        matchOf={(hovered) => {
                          if (hovered)
                            return hovered.tree === tree
                              ? null
                              : (matchOf(hovered.tree, hovered.node)?.node ?? null);
                          return selectedTree && tree !== selectedTree
                            ? (match?.node ?? null)
                            : null;
                        }}
                      />
                    </React.Fragment>
                  ))}
                  {shown.length === 1 && trees.length > 1 && (
                    <div className="heading">
                      <TreeChoice
                        trees={trees}
                        chosen={null}
                        lower
                        onChoose={(name) => change({ lower: name })}
                      />
                    </div>
                  )}
                  <Beyond {...{ view, width }} duration={video.duration} end={end} />
                  <PlayheadLine {...{ playhead, view, width }} />
                </>
              )}
            </div>
          </div>
          <Legend entries={colours[0]!.legend} />
        </div>
        <Details
          video={video}
          tree={selectedTree}
          node={selected}
          other={selectedTree && otherOf(selectedTree)}
          match={match}
          textScore={selectedTree && selected ? scores.text(selectedTree, selected) : null}
          pattern={pattern}
          act={act}
          onSelect={select}
        />
      </div>
      <Tooltip hover={hover} say={say} />
    </div>
  );
}

const lostSeconds = ({ node, score }: { node: TreeNode; score: number }): number =>
  (node.end - node.start) * (1 - score);

function sameNodes(a: readonly TreeNode[], b: readonly TreeNode[]): boolean {
  return a.length === b.length && a.every((node, i) => node === b[i]);
}
