"""The authors' trees beside the checkout, which tests read in place and never copy."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from pipeline.parquet import read_trees
from pipeline.tree import Tree

REAL_FILE = Path(__file__).parents[2] / "shared/data/part-00000.parquet"
COUNT = 5

needs_real_trees = pytest.mark.skipif(
    not REAL_FILE.exists(), reason=f"the authors' trees are not at {REAL_FILE}"
)
#: For tests that take a ``number``: once for each of the trees.
each_real_tree = pytest.mark.parametrize("number", range(COUNT))


@cache
def real_trees() -> list[Tree]:
    trees = list(read_trees(REAL_FILE))
    assert len(trees) == COUNT
    return trees
