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
