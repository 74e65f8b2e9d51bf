"""Trees and FiftyOne datasets: samples, label fields, runs. The only floor that imports fiftyone.

Each tree lives whole in one ``DictField`` (``ground_truth_tree``, ``<run key>_tree``), which the
App does not send to the grid. Its refined texts are also ``TemporalDetections``, one field per kind
of text, for what people filter, clip and evaluate by; the saved view ``light`` leaves those fields
out, since the grid sends every label field that it can see.
"""

from .app import check_app, execute_operator, launch_app, link_plugin
from .comparisons import (
    COMPARISON_METHOD,
    ComparisonResults,
    check_comparison,
    compare_with_ground_truth,
    comparison_fields,
    comparison_key,
)
from .errors import InputError
from .exports import FORMATS, check_export, export_trees
from .fields import GROUND_TRUTH, LABEL_TEXTS, LIGHT_VIEW, save_light_view
from .ground_truth import (
    LoadSummary,
    add_ground_truth,
    describe_dataset,
    load_dataset,
    open_dataset,
)
from .labels import Clip, labels, transcript_labels
from .loading import Annotations
from .management import (
    RunDescription,
    check_at_rest,
    check_managed,
    check_new_key,
    check_stop,
    delete_run,
    describe_run,
    managed_keys,
    rename_run,
    run_view,
    stop_run,
)
from .reviews import FLAG, correct_text, node_text, update_labels
from .runs import (
    RUN_METHOD,
    RunInput,
    RunKeyError,
    check_run_key,
    forget_stop,
    is_stopped,
    run_fields,
    run_folder,
    run_inputs,
    run_keys,
    save_run,
    start_run,
)
from .search import (
    FOUND,
    Hit,
    SegmentQuery,
    check_tree,
    find_segments,
    segment_clips,
    tree_names,
)
from .trees import count_trees, sample_trees, stored_trees
from .vectors import embedding_model, run_vectors

__all__ = [
    "COMPARISON_METHOD",
    "FLAG",
    "FORMATS",
    "FOUND",
    "GROUND_TRUTH",
    "LABEL_TEXTS",
    "LIGHT_VIEW",
    "RUN_METHOD",
    "Annotations",
    "Clip",
    "ComparisonResults",
    "Hit",
    "InputError",
    "LoadSummary",
    "RunDescription",
    "RunInput",
    "RunKeyError",
    "SegmentQuery",
    "add_ground_truth",
    "check_app",
    "check_at_rest",
    "check_comparison",
    "check_export",
    "check_managed",
    "check_new_key",
    "check_run_key",
    "check_stop",
    "check_tree",
    "compare_with_ground_truth",
    "comparison_fields",
    "comparison_key",
    "correct_text",
    "count_trees",
    "delete_run",
    "describe_dataset",
    "describe_run",
    "embedding_model",
    "execute_operator",
    "export_trees",
    "find_segments",
    "forget_stop",
    "is_stopped",
    "labels",
    "launch_app",
    "link_plugin",
    "load_dataset",
    "managed_keys",
    "node_text",
    "open_dataset",
    "rename_run",
    "run_fields",
    "run_folder",
    "run_inputs",
    "run_keys",
    "run_vectors",
    "run_view",
    "sample_trees",
    "save_light_view",
    "save_run",
    "segment_clips",
    "start_run",
    "stop_run",
    "stored_trees",
    "transcript_labels",
    "tree_names",
    "update_labels",
]
