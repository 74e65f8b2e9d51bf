"""What is wrong with what a person said, and where they said it."""

from __future__ import annotations


class InputError(ValueError):
    """An input that cannot be used.

    Attributes:
        field: the name of the parameter, which is that of the form's field
    """

    def __init__(self, field: str, reason: str):
        self.field = field
        super().__init__(reason)
