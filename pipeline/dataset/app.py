"""FiftyOne's App and operators, for the demo."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

if TYPE_CHECKING:
    import fiftyone as fo

PLUGIN = "@action100m/action100m-fiftyone"


def link_plugin(root: Path) -> Path:
    """Link the plugin's folder into FiftyOne's folder of plugins; returns where it is there.

    Raises:
        FileExistsError: another copy of the plugin, or something else of that name, is there
    """
    import fiftyone as fo
    import fiftyone.plugins as fop

    for installed in fop.list_plugins(enabled="all"):
        if installed.name == PLUGIN:
            folder = Path(installed.directory)
            if folder.resolve() == root.resolve():
                return folder
            raise FileExistsError(
                f"{folder} is another copy of the plugin; remove it to use this one ({root})"
            )
    link = Path(fo.config.plugins_dir).expanduser() / PLUGIN.rpartition("/")[2]
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and not link.exists():
        link.unlink()  # to a checkout that is gone
    link.symlink_to(root, target_is_directory=True)
    return link


def execute_operator(samples: fo.SampleCollection, name: str, **params: Any) -> None:
    """Run one of the plugin's operators on a dataset or view and wait for its end."""
    import fiftyone.operators as foo

    foo.execute_operator(f"{PLUGIN}/{name}", {"view": samples.view()}, params=params)


def launch_app(samples: fo.SampleCollection, port: int) -> fo.Session:
    """Start the App's server on this machine's own address, without opening a browser.

    Args:
        samples: the dataset or view that the App opens with
    """
    import fiftyone as fo

    # Its advice on forwarding ports is not for somebody who sits at this machine.
    logging.getLogger("fiftyone.core.session.session").setLevel(logging.WARNING)
    return fo.launch_app(samples, remote=True, address="127.0.0.1", port=port)


def check_app(port: int) -> None:
    """Make sure that the App answers and serves the plugin; OSError or RuntimeError if not."""
    with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
        if b"FiftyOne" not in page.read():
            raise RuntimeError(f"what answers on port {port} is not FiftyOne's App")
    with urlopen(f"http://127.0.0.1:{port}/plugins", timeout=60) as answer:
        names = [plugin["name"] for plugin in json.load(answer)["plugins"]]
    if PLUGIN not in names:
        raise RuntimeError(f"the App does not serve the plugin {PLUGIN}; it serves {names}")
