/**
 * The part of the time axis that is on screen, and how it moves.
 *
 * Times are seconds, positions pixels from the left end of the axis. `end` is where the axis ends
 * when all of it is shown; it begins at 0.
 */
import { formatTime } from "./tree";

export interface Viewport {
  readonly from: number;
  readonly to: number;
}

/** The least that can fill the screen: some frames. */
export const MIN_SPAN = 0.2;

export const spanOf = (view: Viewport): number => view.to - view.from;
export const xOf = (time: number, view: Viewport, width: number): number =>
  ((time - view.from) / spanOf(view)) * width;
export const timeAt = (x: number, view: Viewport, width: number): number =>
  view.from + (x / width) * spanOf(view);

/** The same stretch, moved and shortened as far as the axis demands. */
export function clamp(view: Viewport, end: number): Viewport {
  const span = Math.min(Math.max(spanOf(view), Math.min(MIN_SPAN, end)), end);
  const from = Math.min(Math.max(view.from, 0), end - span);
  return { from, to: from + span };
}

/** Zoom so that `time` stays where it is; a factor above 1 shows less. */
export function zoomAt(view: Viewport, end: number, time: number, factor: number): Viewport {
  const span = Math.min(Math.max(spanOf(view) / factor, Math.min(MIN_SPAN, end)), end);
  const share = (time - view.from) / spanOf(view);
  const from = time - share * span;
  return clamp({ from, to: from + span }, end);
}

export function panBy(view: Viewport, end: number, seconds: number): Viewport {
  return clamp({ from: view.from + seconds, to: view.to + seconds }, end);
}

/** Two fingers: what was under each at first is under it now. */
export function pinch(
  view: Viewport,
  end: number,
  width: number,
  [a, b]: readonly [number, number],
  [nowA, nowB]: readonly [number, number],
): Viewport {
  const apart = Math.max(Math.abs(nowB - nowA), 1) / Math.max(Math.abs(b - a), 1);
  const span = Math.min(Math.max(spanOf(view) / apart, Math.min(MIN_SPAN, end)), end);
  const from = timeAt((a + b) / 2, view, width) - ((nowA + nowB) / 2 / width) * span;
  return clamp({ from, to: from + span }, end);
}

/** A stretch with a little of its surroundings. */
export function fit(start: number, stop: number, end: number): Viewport {
  const margin = Math.max((stop - start) * 0.06, 0.02);
  return clamp({ from: start - margin, to: stop + margin }, end);
}

/** Bring a stretch on screen by the smallest change; one that is wider than the screen is fitted. */
export function reveal(view: Viewport, start: number, stop: number, end: number): Viewport {
  if (stop - start > spanOf(view)) return fit(start, stop, end);
  if (start < view.from) return panBy(view, end, start - view.from - 0.05 * spanOf(view));
  if (stop > view.to) return panBy(view, end, stop - view.to + 0.05 * spanOf(view));
  return view;
}

/** Turn the page when the playhead leaves the screen. */
export function follow(view: Viewport, time: number, end: number): Viewport {
  if (time >= view.from && time <= view.to - 0.02 * spanOf(view)) return view;
  const turned = panBy(view, end, time - view.from - 0.1 * spanOf(view));
  return turned.from === view.from ? view : turned;
}

const TICK_STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200,
];

/** Round times within the viewport, at least `gap` pixels apart. */
export function ticks(
  view: Viewport,
  width: number,
  gap = 64,
): { readonly time: number; readonly label: string }[] {
  const span = spanOf(view);
  if (!(span > 0) || !(width > 0)) return [];
  const least = (gap / width) * span;
  const step = TICK_STEPS.find((s) => s >= least) ?? Math.ceil(least / 7200) * 7200;
  const first = Math.ceil(view.from / step - 1e-9);
  const last = Math.floor(view.to / step + 1e-9);
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  return Array.from({ length: Math.max(last - first + 1, 0) }, (_, i) => ({
    time: (first + i) * step,
    label: formatTime((first + i) * step, digits),
  }));
}
