"""Action100M for FiftyOne: the plugin's entry point."""


def register(plugin):
    """Register the operators and panels. FiftyOne calls this at every registry access."""
    from . import operators, panels

    operators.register(plugin)
    panels.register(plugin)
