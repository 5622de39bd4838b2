"""The fault campaign: what was tried and what came of it, as one table at the end of the run.

Each test of this folder takes the fixture `campaign`. A run of the suite tries a small share of each kind of
fault; with --faults it tries all. Faults are drawn from `campaign.rng`, which is seeded by the test's name.
"""
import collections
import zlib

import numpy as np

from data_tools.base.errors import UserError

# what may come of a fault; the last three are defects
OUTCOMES = ('reported', 'resumed', 'harmless', 'silent', 'hung', 'traceback')
DEFECTS = ('silent', 'hung', 'traceback')
PROPERTY, NOTE = 'campaign', 'campaign note'


class Campaign:
    """Counts what came of the faults that one test tries.

    Attributes:
      rng: np.random.RandomState.
    """

    def __init__(self, name, whole):
        self.rng, self._whole = np.random.RandomState(zlib.crc32(name.encode())), whole
        self._counts, self._defects, self._notes = collections.Counter(), [], []

    def amount(self, share, whole):
        """How many faults to try: `share` in every run, `whole` with --faults."""
        return whole if self._whole else share

    def record(self, kind, outcome, description=''):
        """Counts one fault.

        Args:
          kind: str, the row of the table, such as 'shard: bit flip'.
          outcome: one of OUTCOMES. reported: an error names the file and what is wrong. resumed: the work goes on and
            its result equals that of an undisturbed run. harmless: the fault changes nothing that is used. silent: a
            wrong result without a word. hung, traceback: as they say.
          description: str, the fault, to find it again when it is a defect.
        """
        assert outcome in OUTCOMES, outcome
        self._counts[kind, outcome] += 1
        if outcome in DEFECTS:
            self._defects.append('%s: %s: %s' % (kind, outcome, description))

    def note(self, text):
        """Adds a line below the table."""
        self._notes.append(text)

    def attempt(self, kind, function, sound, description='', names=()):
        """Calls `function` and records what comes of it.

        Args:
          function: function without arguments.
          sound: function(result) -> bool, whether a result is what it is without the fault.
          names: texts of which an error has to contain at least one, such as the file's name.
        """
        try:
            result = function()
        except UserError as error:
            named = not names or any(name in str(error) for name in names)
            self.record(kind, 'reported' if named else 'traceback', '%s: %s' % (description, error))
        except Exception as error:
            self.record(kind, 'traceback', '%s: %s: %s' % (description, type(error).__name__, error))
        else:
            self.record(kind, 'harmless' if sound(result) else 'silent', description)

    def judge(self, kind, done, description='', names=()):
        """Records what came of a program that a fault made fail.

        Args:
          done: finished subprocess with text `stderr`; None for one that had to be killed after its time.
        """
        if done is None:
            outcome = 'hung'
        elif 'Traceback (most recent call last)' in done.stderr or done.returncode < 0:
            outcome = 'traceback'
        elif done.returncode and 'error: ' in done.stderr and (
                not names or any(name in done.stderr for name in names)):
            outcome = 'reported'
        else:
            outcome = 'silent'
        self.record(kind, outcome, '%s: %s' % (description, done.stderr[-2000:] if done else 'killed'))

    def finish(self, node):
        """Hands the counts to the table, and fails the test for defects."""
        node.user_properties.append((PROPERTY, [[kind, outcome, count] for (kind, outcome), count
                                                in self._counts.items()]))
        node.user_properties.extend((NOTE, text) for text in self._notes)
        assert self._counts, 'no fault was tried'
        assert not self._defects, '%d defects:\n%s' % (len(self._defects), '\n'.join(self._defects[:20]))


def table(reports):
    """The lines of the table and the notes below it, from the test reports of a run: list of str, empty without."""
    counts, notes = collections.Counter(), []
    for report in reports:
        for name, value in getattr(report, 'user_properties', ()) if report_of_end(report) else ():
            if name == NOTE:
                notes.append(value)
            for kind, outcome, count in value if name == PROPERTY else ():
                counts[kind, outcome] += count
    kinds = sorted({kind for kind, _ in counts})
    if not kinds:
        return []
    width = max(map(len, kinds + ['fault']))
    row = '%%-%ds %%9s' % width + ' %10s' * len(OUTCOMES)
    lines = [row % (('fault', 'tried') + OUTCOMES)]
    for kind in kinds + ['total']:
        numbers = [sum(count for (name, result), count in counts.items()
                       if result == outcome and kind in (name, 'total')) for outcome in OUTCOMES]
        lines.append(row % ((kind, sum(numbers)) + tuple(numbers)))
    return lines + notes


def report_of_end(report):
    return getattr(report, 'when', None) == 'teardown'
