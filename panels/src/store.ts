import * as React from "react";

/** A value that changes too often to redraw all that React draws, and whoever listens to it. */
export class Store<T> {
  private readonly listeners = new Set<() => void>();

  constructor(private value: T) {}

  readonly get = (): T => this.value;

  readonly set = (value: T): void => {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of this.listeners) listener();
  };

  /** Calls back after every change; returns what ends that. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
}

/** A store's value for components that draw it. */
export function useStore<T>(store: Store<T>): T {
  return React.useSyncExternalStore(store.subscribe, store.get);
}

/** The same, at most once in `ms` milliseconds: for words, which nobody reads any faster. */
export function useSlowly<T>(store: Store<T>, ms: number): T {
  const [value, setValue] = React.useState(store.get);
  React.useEffect(() => {
    let timer = 0;
    const later = () => {
      timer ||= setTimeout(() => {
        timer = 0;
        setValue(() => store.get());
      }, ms);
    };
    setValue(() => store.get());
    const unsubscribe = store.subscribe(later);
    return () => {
      clearTimeout(timer);
      unsubscribe();
    };
  }, [store, ms]);
  return value;
}
