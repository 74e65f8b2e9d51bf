"""The panels: their Python halves here, the JavaScript half in ``src``, built to ``dist``."""


def register(plugin):
    """Register every panel with FiftyOne."""
    from .tree_of_captions import TreeOfCaptions

    plugin.register(TreeOfCaptions)
