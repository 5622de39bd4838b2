"""The windows that a packing job makes of its clips."""
import typing

NO_FILL = 'none'   # the fill that makes no windows that reach beyond a clip
Job = typing.Mapping[str, typing.Any]   # see `data_tools.packing.job.describe_job`


def stored_frames(job: Job) -> int:
    """Returns how many LQ frames a record of a job holds: windows of the longest interval that training may draw."""
    return (job['num_frames'] - 1) * job.get('reach', 1) + 1


def span(job: Job) -> int:
    """Counts the frames from the first to the last of a window."""
    return (stored_frames(job) - 1) * job['frame_interval'] + 1


def centres(length: int, job: Job) -> range:
    """Returns the frames of a clip of `length` frames that are the centre of a window."""
    margin = span(job) // 2 if job['fill'] == NO_FILL else 0
    return range(margin, length - margin)
