import * as React from "react";
import type { Palette } from "./draw";
import { download, fileName, picture } from "./files";
import { type Shown, toJson, toMarkdown, toSvg } from "./model/exports";
import type { Viewport } from "./model/viewport";
import type { Store } from "./store";
import { Menu } from "./Toolbar";

/** Files of what is on screen, and its segments as clips. */
export function ExportMenu(props: {
  title: string;
  shown: readonly Shown[];
  view: Store<Viewport>;
  /** Pixels of the axis. */
  width(): number;
  rowHeight: number;
  palette: Palette | null;
  /** Whether the nodes have all their texts. */
  whole: boolean;
  /** The clips that there are to open: of which level (null: the leaves) of which tree. */
  clips: { readonly level: number | null; readonly of: string };
  openClips(): void;
}) {
  const { title, shown, view, width, rowHeight, palette, whole, clips, openClips } = props;
  const save = (ending: string, content: string | Blob) =>
    download(content, `${fileName(title)}.${ending}`);
  // A file of half of the texts would look complete.
  const waits = whole ? {} : { disabled: true, title: "The long texts are not here yet" };
  const savePng = () =>
    palette &&
    picture(title, shown, view.get(), width(), rowHeight, palette, (blob) => save("png", blob));
  const saveSvg = () => palette && save("svg", toSvg(title, shown, view.get(), palette));
  return (
    <Menu
      label="Export"
      items={[
        { label: "PNG", run: savePng },
        { label: "SVG", ...waits, run: saveSvg },
        {
          label: "Markdown",
          ...waits,
          run: () => save("md", toMarkdown(title, shown, view.get())),
        },
        { label: "JSON", ...waits, run: () => save("json", toJson(title, shown, view.get())) },
        {
          label: `Open as clips: ${clips.level === null ? "leaves" : `level ${clips.level}`}`,
          title: `The shown segments of ${clips.of} as a view of clips`,
          run: openClips,
        },
      ]}
    />
  );
}
