"""The error that a user can fix."""


class UserError(Exception):
    """An error that the user can fix. The text names the object, its value, the right value and the remedy. Programs
    print it without a traceback."""
