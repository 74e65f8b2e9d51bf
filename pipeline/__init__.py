"""The Action100M pipeline: embed, segment, caption and refine videos into Trees-of-Captions.

Self-contained: nothing here but ``dataset.py`` needs FiftyOne. See ``docs/architecture.md``.
"""
