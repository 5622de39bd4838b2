"""The tasks of workers, one for each shard to write, and the frames that the tasks need in the scratch."""
from typing import Any, Dict, Iterator, List, Sequence

from data_tools.media.clips import Clip
from data_tools.packing import shard_writer
from data_tools.packing.job import order_in_shards
from data_tools.packing.scratch import frame_bytes
from data_tools.packing.shard_writer import ShardTask


def shard_tasks(found: Sequence[Clip], job: Dict[str, Any], folder: str, todo: Sequence[int]) -> List[ShardTask]:
    """Makes a ShardTask for each of the shards `todo`; its `centres` are only those of its shard."""
    parts = order_in_shards(job)
    tasks: List[ShardTask] = []
    for index in todo:
        windows = [(number, centre) for number, centre in parts[index].tolist()]
        kept = shard_writer.kept_clips(folder, index, job)
        clips_here = {number: found[number] for number, _ in windows}
        centres: Dict[str, List[int]] = {}
        for number, centre in windows:
            clip = found[number]
            if clip.name not in kept and not clip.gt.direct:
                centres.setdefault(clip.name, []).append(centre)
        tasks.append(ShardTask(index, windows, clips_here, centres, kept))
    return tasks


def gt_bytes(task: ShardTask) -> int:
    """Returns the bytes of the GT frames that a shard needs in the scratch."""
    return sum(len(task.centres.get(clip.name, ())) * frame_bytes(clip.gt) for clip in task.clips.values())


def centres_of(tasks: Sequence[ShardTask]) -> Dict[str, List[int]]:
    """Returns {name of clip: sorted list of the GT frames in the scratch} of several tasks."""
    centres: Dict[str, List[int]] = {}
    for task in tasks:
        for name, frames in task.centres.items():
            centres.setdefault(name, []).extend(frames)
    return {name: sorted(frames) for name, frames in centres.items()}


def with_centres(tasks: Sequence[ShardTask], centres: Dict[str, List[int]]) -> List[ShardTask]:
    """Gives each task the `centres` of all tasks that are packed together: they determine the scratch files' names."""
    return [task._replace(centres={name: centres[name] for name in task.centres}) for task in tasks]


def rounds(tasks: Sequence[ShardTask], room: float) -> Iterator[List[ShardTask]]:
    """Yields lists of tasks whose GT frames take at most `room` bytes together; a single task may take more."""
    some: List[ShardTask] = []
    used = 0
    for task in tasks:
        size = gt_bytes(task)
        if some and used + size > room:
            yield some
            some, used = [], 0
        some.append(task)
        used += size
    if some:
        yield some


def clips_to_decode(tasks: Sequence[ShardTask]) -> Dict[int, Clip]:
    """Returns {clip number: Clip} of the windows that are encoded."""
    return {number: clip for task in tasks for number, clip in sorted(task.clips.items()) if clip.name not in task.kept}
