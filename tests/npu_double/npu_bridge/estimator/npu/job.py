"""The adapter's facts about its job; the first use reads them from the environment, once."""
import os

_info = None


class JobInfo:
    def __init__(self, rank_size):
        self.rank_size = rank_size


def job_info():
    """JobInfo, or None without JOB_ID. A later change of the environment has no effect."""
    global _info
    if _info is None and os.environ.get('JOB_ID'):
        text = os.environ.get('RANK_SIZE', 0)
        if not text.isdigit() or int(text) <= 0:   # unset: AttributeError, as in the original
            print('set rank_size to default 1')
            text = '1'
        _info = JobInfo(int(text))
    return _info
