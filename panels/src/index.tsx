import * as React from "react";
import { missing, registerComponent } from "./fiftyone";
import { keepSettings } from "./settings";
import { TreeOfCaptions } from "./TreeOfCaptions";

const lacking = missing();

function Unsupported() {
  return (
    <p role="alert" style={{ padding: 24 }}>
      The Tree-of-Captions panel needs FiftyOne 1.22. This App lacks {lacking.join(", ")}.
    </p>
  );
}

keepSettings();
try {
  registerComponent("TreeOfCaptionsView", lacking.length ? Unsupported : TreeOfCaptions);
} catch (error) {
  console.error("The Tree-of-Captions panel cannot run in this App. It lacks", lacking, error);
}
