"""Tests of the assertions on messages."""
import pytest
from facts import check_facts, raises_facts

TEXT = 'patch_size is 30, but a.b/x.png has LQ frames of 8x10, scale 1.5: give --patch_size=8 or less'


@pytest.mark.parametrize('facts', [('patch_size', 30, 'x.png', '8x10', '--patch_size=8'),
                                   ('a.b', 'b/x.png', 'scale 1.5')])
def test_facts_that_stand_in_the_text_pass(facts):
    check_facts(TEXT, *facts)


@pytest.mark.parametrize('fact', [3, 0, 5, 1, 'size', '8x1', '--patch', 'tile'])
def test_a_fact_is_whole_words(fact):
    with pytest.raises(AssertionError, match='missing in: patch_size'):
        check_facts(TEXT, 30, fact)


def test_the_error_must_be_raised_and_hold_the_facts():
    with raises_facts(ValueError, 'patch_size', 30) as caught:
        raise ValueError(TEXT)
    assert str(caught.value) == TEXT
    with pytest.raises(AssertionError, match=r"\['31'\] missing"), raises_facts(ValueError, 'patch_size', 31):
        raise ValueError(TEXT)
    with pytest.raises(pytest.fail.Exception), raises_facts(ValueError):
        pass
    with pytest.raises(KeyError), raises_facts(ValueError):
        raise KeyError
