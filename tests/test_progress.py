"""Progress: whole lines in logs, JSON for programs, the note at the end once."""
import json

import pytest

from data_tools.base.progress import progress_bar


@pytest.mark.parametrize('total', [3, None])
def test_logs_get_whole_lines(capsys, total):
    with progress_bar(total=total, desc='restoring', unit='frame', note='the last files') as bar:
        for _ in range(3):
            bar.update()
        bar.write('a clip')
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert '\r' not in said.err and all(line.strip() for line in lines)
    assert [line for line in lines if 'restoring' in line][-1].count('3') >= 1
    assert said.err.count('the last files') == (1 if total else 0)   # without a total the end is unknown
    assert said.out == 'a clip\n'


def test_a_bar_that_is_too_short_to_be_shown_is_silent(capsys):
    assert list(progress_bar(range(3), desc='headers', delay=60)) == [0, 1, 2]
    assert capsys.readouterr().err == ''


def test_json_states_what_is_done(capsys):
    with progress_bar(total=5, desc='restoring', unit='frame', kind='json', note='the last files') as bar:
        bar.update(2)
        bar.refresh()
        bar.update(3)
    states = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [state['done'] for state in states] == [0, 2, 5]
    assert {(state['stage'], state['total'], state['unit']) for state in states} == {('restoring', 5, 'frame')}
    assert states[0]['per_second'] is None and states[-1]['seconds'] >= states[0]['seconds'] == 0
