import { describe, expect, test } from "vitest";
import {
  clamp,
  fit,
  follow,
  MIN_SPAN,
  panBy,
  pinch,
  reveal,
  spanOf,
  ticks,
  timeAt,
  xOf,
  zoomAt,
} from "./viewport";

const ALL = { from: 0, to: 100 };

describe("the viewport", () => {
  test("turns times into pixels and back", () => {
    const view = { from: 20, to: 30 };
    expect(xOf(25, view, 500)).toBe(250);
    expect(timeAt(250, view, 500)).toBe(25);
  });

  test("zooms around a time, which stays where it is", () => {
    let view = ALL;
    for (let i = 0; i < 10; i++) {
      const before = xOf(37, view, 500);
      view = zoomAt(view, 100, 37, 1.3);
      expect(xOf(37, view, 500)).toBeCloseTo(before);
    }
    expect(spanOf(view)).toBeCloseTo(100 / 1.3 ** 10);
  });

  test("shows no more than everything and no less than some frames", () => {
    expect(zoomAt({ from: 10, to: 20 }, 100, 15, 1e-9)).toEqual(ALL);
    expect(spanOf(zoomAt(ALL, 100, 50, 1e9))).toBeCloseTo(MIN_SPAN);
    expect(clamp({ from: -5, to: 400 }, 100)).toEqual(ALL);
    expect(clamp({ from: 0, to: 1 }, 0.1)).toEqual({ from: 0, to: 0.1 });
  });

  test("stays on the axis when it is moved", () => {
    expect(panBy({ from: 10, to: 20 }, 100, -50)).toEqual({ from: 0, to: 10 });
    expect(panBy({ from: 10, to: 20 }, 100, 500)).toEqual({ from: 90, to: 100 });
    expect(panBy({ from: 10, to: 20 }, 100, 5)).toEqual({ from: 15, to: 25 });
  });

  test("keeps what lies under two fingers under them", () => {
    const view = { from: 20, to: 60 };
    const [a, b] = [timeAt(100, view, 400), timeAt(200, view, 400)];
    const now = pinch(view, 100, 400, [100, 200], [80, 280]);
    expect(xOf(a, now, 400)).toBeCloseTo(80);
    expect(xOf(b, now, 400)).toBeCloseTo(280);
  });

  test("fits a stretch with a margin", () => {
    const view = fit(40, 50, 100);
    expect(view.from).toBeLessThan(40);
    expect(view.to).toBeGreaterThan(50);
    expect(spanOf(view)).toBeLessThan(12);
    expect(fit(0, 100, 100)).toEqual(ALL);
  });

  test("reveals by the smallest change", () => {
    const view = { from: 20, to: 40 };
    expect(reveal(view, 25, 30, 100)).toBe(view);
    expect(reveal(view, 10, 12, 100).from).toBeCloseTo(9);
    expect(reveal(view, 50, 55, 100).to).toBeCloseTo(56);
    expect(reveal(view, 10, 80, 100).to).toBeGreaterThan(80);
  });

  test("turns the page when the playhead leaves the screen", () => {
    const view = { from: 20, to: 30 };
    expect(follow(view, 25, 100)).toBe(view);
    expect(follow(view, 30, 100).from).toBeCloseTo(29);
    expect(follow(view, 5, 100).from).toBeCloseTo(4);
    expect(follow(view, 99.9, 100).to).toBe(100);
  });
});

describe("ticks", () => {
  test("are round, within the viewport and far enough apart", () => {
    for (const span of [0.3, 3, 20, 90, 345.55, 4000, 90000]) {
      for (const from of [0, 12.34]) {
        const marks = ticks({ from, to: from + span }, 500);
        expect(marks.length).toBeGreaterThan(0);
        expect(marks[0]!.time).toBeGreaterThanOrEqual(from - 1e-6);
        expect(marks.at(-1)!.time).toBeLessThanOrEqual(from + span + 1e-6);
        expect(new Set(marks.map((m) => m.label)).size).toBe(marks.length);
        if (marks.length > 1) {
          expect(((marks[1]!.time - marks[0]!.time) / span) * 500).toBeGreaterThanOrEqual(63.9);
        }
      }
    }
    const marks = ticks({ from: 0, to: 90 }, 500);
    expect(marks.map((m) => m.label).slice(0, 3)).toEqual(["0:00", "0:15", "0:30"]);
  });

  test("an axis without width or length has none", () => {
    expect([...ticks({ from: 0, to: 0 }, 100), ...ticks(ALL, 0)]).toEqual([]);
  });
});
