import * as React from "react";
import { type Palette, paintMinimap, paintRuler, paintTranscript, prepare } from "./draw";
import type { Playhead } from "./fiftyone";
import { usePainting } from "./hooks";
import type { Colours } from "./model/colours";
import type { Row } from "./model/filters";
import { formatTime, type Line } from "./model/tree";
import { panBy, pinch, spanOf, timeAt, type Viewport, xOf, zoomAt } from "./model/viewport";
import type { Store } from "./store";

/** How far a pointer may move and still be a click. */
const CLICK_PIXELS = 3;
const WHEEL_STEP = 0.0016;

interface Gestures {
  readonly view: Store<Viewport>;
  /** Where the axis ends, in seconds. */
  readonly end: number;
  readonly width: number;
}

/**
 * Wheel zooms around the pointer (with Shift, or sideways, it pans), dragging pans, two fingers do
 * both. Returns the props of the element that it happens on.
 */
export function useGestures({ view, end, width }: Gestures) {
  const element = React.useRef<HTMLDivElement>(null);
  const latest = React.useRef({ view, end, width });
  latest.current = { view, end, width };

  React.useEffect(() => {
    const target = element.current;
    if (!target) return undefined;
    const fingers = new Map<number, number>();
    let drag: { x: number; y: number; scrolled: number; view: Viewport; moved: boolean } | null;
    let pinched: { view: Viewport; from: [number, number] } | null = null;
    drag = null;

    const at = (clientX: number) => clientX - target.getBoundingClientRect().left;
    const onWheel = (event: WheelEvent) => {
      const { view, end, width } = latest.current;
      event.preventDefault(); // the page would scroll, or zoom
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
      const [x, y] = [event.deltaX * lines, event.deltaY * lines];
      const now = view.get();
      if (event.shiftKey || Math.abs(x) > Math.abs(y)) {
        view.set(panBy(now, end, ((x || y) / width) * spanOf(now)));
      } else {
        // A trackpad's pinch comes as a wheel with Ctrl, in small steps.
        const factor = Math.exp(-y * WHEEL_STEP * (event.ctrlKey ? 6 : 1));
        view.set(zoomAt(now, end, timeAt(at(event.clientX), now, width), factor));
      }
    };
    const onDown = (event: PointerEvent) => {
      if (event.button !== 0) return;
      fingers.set(event.pointerId, at(event.clientX));
      const { view } = latest.current;
      const scroller = target.parentElement;
      const start = { x: event.clientX, y: event.clientY, scrolled: scroller?.scrollTop ?? 0 };
      drag = { ...start, view: view.get(), moved: drag?.moved ?? false };
      if (fingers.size === 1) drag.moved = false;
      const [a, b] = [...fingers.values()];
      pinched = a !== undefined && b !== undefined ? { view: view.get(), from: [a, b] } : null;
    };
    const onMove = (event: PointerEvent) => {
      if (!fingers.has(event.pointerId) || !drag) return;
      const { view, end, width } = latest.current;
      fingers.set(event.pointerId, at(event.clientX));
      const [a, b] = [...fingers.values()];
      if (pinched && a !== undefined && b !== undefined) {
        drag.moved = true;
        view.set(pinch(pinched.view, end, width, pinched.from, [a, b]));
        return;
      }
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) <= CLICK_PIXELS) return;
      if (!drag.moved) target.setPointerCapture(event.pointerId);
      drag.moved = true;
      view.set(panBy(drag.view, end, (-dx / width) * spanOf(drag.view)));
      if (target.parentElement) target.parentElement.scrollTop = drag.scrolled - dy;
    };
    const onUp = (event: PointerEvent) => {
      fingers.delete(event.pointerId);
      pinched = null;
    };
    const onClick = (event: MouseEvent) => {
      if (drag?.moved) event.stopPropagation(); // the end of a drag
      drag = null;
    };
    target.addEventListener("wheel", onWheel, { passive: false });
    target.addEventListener("pointerdown", onDown);
    target.addEventListener("pointermove", onMove);
    target.addEventListener("pointerup", onUp);
    target.addEventListener("pointercancel", onUp);
    target.addEventListener("click", onClick, { capture: true });
    return () => {
      target.removeEventListener("wheel", onWheel);
      target.removeEventListener("pointerdown", onDown);
      target.removeEventListener("pointermove", onMove);
      target.removeEventListener("pointerup", onUp);
      target.removeEventListener("pointercancel", onUp);
      target.removeEventListener("click", onClick, { capture: true });
    };
  }, []);
  return element;
}

interface AxisProps {
  readonly view: Store<Viewport>;
  readonly width: number;
  readonly palette: Palette;
  onSeek(time: number): void;
}

export const RULER_HEIGHT = 36;

export const Ruler = React.memo(function Ruler({ view, width, palette, onSeek }: AxisProps) {
  const canvas = React.useRef<HTMLCanvasElement>(null);
  usePainting(() => {
    const context = canvas.current && prepare(canvas.current, width, RULER_HEIGHT);
    if (context) paintRuler(context, palette, view.get(), width, RULER_HEIGHT);
  }, [view]);
  const onClick = (event: React.MouseEvent) => {
    const { left } = event.currentTarget.getBoundingClientRect();
    onSeek(timeAt(event.clientX - left, view.get(), width));
  };
  return (
    <canvas
      ref={canvas}
      className="ruler"
      data-testid="ruler"
      aria-hidden="true"
      style={{ width, height: RULER_HEIGHT }}
      onClick={onClick}
    />
  );
});

export const TRANSCRIPT_HEIGHT = 22;

/** What is said, on the same axis; a click goes to where a line begins. */
export const Transcript = React.memo(function Transcript(
  props: AxisProps & { lines: readonly Line[]; hits: ReadonlySet<Line> },
) {
  const { view, width, palette, lines, hits, onSeek } = props;
  const canvas = React.useRef<HTMLCanvasElement>(null);
  const [over, setOver] = React.useState<Line | null>(null);
  usePainting(() => {
    const context = canvas.current && prepare(canvas.current, width, TRANSCRIPT_HEIGHT);
    if (!context) return;
    paintTranscript(context, palette, lines, hits, view.get(), width, TRANSCRIPT_HEIGHT);
  }, [view]);
  const lineAt = (event: React.MouseEvent): Line | null => {
    const { left } = event.currentTarget.getBoundingClientRect();
    const time = timeAt(event.clientX - left, view.get(), width);
    return lines.find((line) => line.start <= time && time < line.end) ?? null;
  };
  return (
    <canvas
      ref={canvas}
      className="transcript"
      data-testid="transcript"
      role="img"
      aria-label={`Transcript, ${lines.length} lines`}
      title={over ? `${formatTime(over.start, 1)} ${over.text}` : undefined}
      style={{ width, height: TRANSCRIPT_HEIGHT }}
      onPointerMove={(event) => setOver(lineAt(event))}
      onClick={(event) => {
        const line = lineAt(event);
        if (line) onSeek(line.start);
      }}
    />
  );
});

interface MinimapProps extends Omit<AxisProps, "onSeek"> {
  readonly end: number;
  readonly trees: readonly { readonly rows: readonly Row[]; readonly colours: Colours }[];
}

const MINIMAP_HEIGHT = 30;

/** The whole axis; a click or a drag brings a part of it on screen. */
export const Minimap = React.memo(function Minimap(props: MinimapProps) {
  const { view, width, palette, end, trees } = props;
  const canvas = React.useRef<HTMLCanvasElement>(null);
  usePainting(() => {
    const context = canvas.current && prepare(canvas.current, width, MINIMAP_HEIGHT);
    if (context) paintMinimap(context, palette, trees, view.get(), end, width, MINIMAP_HEIGHT);
    const { from, to } = view.get();
    if (canvas.current) canvas.current.dataset.view = `${from.toFixed(3)} ${to.toFixed(3)}`;
  }, [view]);
  const go = (event: React.PointerEvent) => {
    if (!event.buttons) return;
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    const { left } = event.currentTarget.getBoundingClientRect();
    const time = ((event.clientX - left) / width) * end;
    const now = view.get();
    view.set(panBy(now, end, time - (now.from + now.to) / 2));
  };
  return (
    <canvas
      ref={canvas}
      className="minimap"
      data-testid="minimap"
      role="img"
      aria-label="The whole video; the frame is what is shown below"
      style={{ width, height: MINIMAP_HEIGHT }}
      onPointerDown={go}
      onPointerMove={go}
    />
  );
});

/** The line over both trees. It moves by itself: nothing else is drawn again when it does. */
export function PlayheadLine(props: { playhead: Playhead; view: Store<Viewport>; width: number }) {
  const { playhead, view, width } = props;
  const line = React.useRef<HTMLDivElement>(null);
  const label = React.useRef<HTMLOutputElement>(null);
  usePainting(() => {
    const time = playhead.time.get();
    if (!line.current || !label.current) return;
    const x = time === null ? -1 : xOf(time, view.get(), width);
    line.current.hidden = time === null || x < -0.5 || x > width + 0.5;
    if (time === null) {
      delete line.current.dataset.time;
      return;
    }
    line.current.dataset.time = time.toFixed(3);
    line.current.style.transform = `translateX(${x.toFixed(2)}px)`;
    line.current.classList.toggle("left", x > width / 2);
    const text = formatTime(time, 1);
    if (label.current.textContent !== text) label.current.textContent = text; // else laid out again
  }, [playhead.time, view]);
  return (
    <div ref={line} className="playhead" data-testid="playhead" hidden>
      <output ref={label} />
    </div>
  );
}
