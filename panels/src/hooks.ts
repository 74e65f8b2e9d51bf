import * as React from "react";

/** An element's size in CSS pixels, kept up to date. */
export function useSize(element: React.RefObject<Element>) {
  const [size, setSize] = React.useState({ width: 0, height: 0 });
  React.useLayoutEffect(() => {
    const measured = element.current;
    if (!measured) return undefined;
    const measure = () =>
      setSize((known) =>
        known.width === measured.clientWidth && known.height === measured.clientHeight
          ? known
          : { width: measured.clientWidth, height: measured.clientHeight },
      );
    measure(); // before the first paint; the observer calls back after it
    const observer = new ResizeObserver(measure);
    observer.observe(measured);
    return () => observer.disconnect();
  }, []);
  return size;
}

interface Observable {
  subscribe(listener: () => void): () => void;
}

/** Paint after each render, and whenever one of the stores changes: at most once a picture. */
export function usePainting(paint: () => void, stores: readonly Observable[]): void {
  const latest = React.useRef(paint);
  latest.current = paint;
  React.useLayoutEffect(() => latest.current());
  React.useEffect(() => {
    let request = 0;
    const later = () => {
      request ||= requestAnimationFrame(() => {
        request = 0;
        latest.current();
      });
    };
    const subscriptions = stores.map((store) => store.subscribe(later));
    return () => {
      cancelAnimationFrame(request);
      subscriptions.forEach((unsubscribe) => unsubscribe());
    };
  }, stores);
}
