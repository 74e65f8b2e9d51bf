"""The floors of the house: each module imports only from floors below its own."""

from __future__ import annotations

import ast
from pathlib import Path

# pipeline/ from the ground up; what stands on one line may import its neighbours.
FLOORS = (
    "tree store ahead progress",
    "parquet video download metrics report measured presets samplekit selection vjepa hub "
    "devices workers checkpoints chat prompts",
    "embedding segmentation captioning refinement",
    "runner",
    "child",
    "dataset",
    "demo",
    "cli",
    "__main__",
)
ABOVE = ("download_scripts", "operators", "panels")
HEAVY = {"torch", "transformers", "vllm", "ray", "fiftyone", "sklearn", "scipy", "matplotlib"} | {
    *("av", "cv2", "yt_dlp", "huggingface_hub", "ffmpeg", "pandas", "PIL", "tqdm", "openai"),
    *("jsonschema", "psutil"),
}


def _floor(module: str) -> int | None:
    package, _, rest = module.partition(".")
    if package in ABOVE:
        return len(FLOORS)
    name = rest.split(".")[0]
    return next((i for i, names in enumerate(FLOORS) if name in names.split()), None)


def _modules(repo: Path) -> dict[str, Path]:
    paths = [
        path
        for folder in ("pipeline", "operators", "panels", "download_scripts")
        for path in (repo / folder).rglob("*.py")
        if "node_modules" not in path.parts
    ]
    return {
        ".".join(path.relative_to(repo).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def _imports(module: str, path: Path, known: set[str]) -> set[str]:
    """The project's own modules that this one imports, at its top or within functions."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - max(node.level - 1, 0)]
            source = ".".join([*base, node.module or ""]).strip(".") if node.level else node.module
            for alias in node.names:
                full = f"{source}.{alias.name}"
                found.add(full if full in known else source)
    return {name for name in found if name in known}


def test_every_module_of_the_pipeline_stands_on_a_floor(repo):
    homeless = [m for m in _modules(repo) if m != "pipeline" and _floor(m) is None]
    assert homeless == []


def test_imports_go_downwards_only(repo):
    modules = _modules(repo)
    upwards = []
    for module, path in modules.items():
        for imported in _imports(module, path, set(modules)):
            if imported == "pipeline":
                continue
            if _floor(imported) > _floor(module):
                upwards.append(f"{module} -> {imported}")
    assert upwards == []


def test_the_check_sees_relative_and_local_imports(repo):
    """The test above can fail: it would see these."""
    modules = _modules(repo)
    seen = _imports("pipeline.cli", modules["pipeline.cli"], set(modules))
    assert {"pipeline.cli.runs", "pipeline.demo", "pipeline.parquet"} <= seen
    operator = "operators.annotate_videos"
    path = modules[operator]
    # FiftyOne loads the repository as a package, so the operators' imports climb one level more.
    tree = ast.parse(path.read_text())
    climbs = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == 2]
    assert climbs


def test_only_the_dataset_floor_of_the_pipeline_imports_fiftyone(repo):
    users = [
        module
        for module, path in _modules(repo).items()
        if module.startswith("pipeline")
        for node in ast.walk(ast.parse(path.read_text()))
        if "fiftyone" in _roots(node)
    ]
    assert users
    assert all(module.startswith("pipeline.dataset") for module in users)


def test_heavy_packages_are_imported_where_they_are_used(repo):
    at_the_top = []
    for module, path in _modules(repo).items():
        if not module.startswith(("pipeline", "download_scripts")):
            continue
        for node in ast.parse(path.read_text()).body:
            at_the_top += [f"{module}: {root}" for root in _roots(node) & HEAVY]
    assert at_the_top == []


def _roots(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level:
        return {(node.module or "").split(".")[0]}
    return set()


def test_the_picture_of_the_house_names_every_module(repo):
    picture = (repo / "docs" / "architecture.md").read_text()
    for name in [*ABOVE, *" ".join(FLOORS[:-1]).split()]:
        assert name in picture, name
