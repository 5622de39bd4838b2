"""Assertions on messages: the facts in them (names, values, remedies), not their sentences."""
import contextlib
import re

import pytest


def check_facts(text, *facts):
    """Asserts that each fact stands in a text as whole words: 3 is found in '3 clips', not in '13 clips' or '3.5'.

    Args:
      text: str, a message or what a program printed.
      *facts: str or numbers, taken as str: the name of a thing, its value, the remedy.
    """
    missing = [str(fact) for fact in facts if not _stands(str(fact), text)]
    assert not missing, '%s missing in: %s' % (missing, text)


def check_error(done, *facts):
    """Asserts that a program ended with exit code 1, no traceback and one line 'error: ...' that holds all facts.

    Args:
      done: subprocess.CompletedProcess with text `stderr`.
      *facts: see `check_facts`.
    """
    lines = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert done.returncode == 1 and len(lines) == 1 and 'Traceback' not in done.stderr, done.stderr
    check_facts(lines[0], *facts)


@contextlib.contextmanager
def raises_facts(error, *facts):
    """Asserts that the block raises an error whose text holds all facts (`check_facts`); yields its ExceptionInfo."""
    with pytest.raises(error) as caught:
        yield caught
    check_facts(str(caught.value), *facts)


def _stands(fact, text):
    before = r'(?<!\w)(?<!\d\.)' if re.match(r'\w', fact) else ''
    after = r'(?!\w|\.\d)' if re.search(r'\w$', fact) else ''
    return re.search(before + re.escape(fact) + after, text) is not None
