"""The error that a user can fix."""


class UserError(Exception):
    """Wrong input: the text names the thing, what it was, what it should be and what to do. No traceback."""
