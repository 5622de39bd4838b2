"""Where frames to restore come from: folders of images in every layout of data_tools.media.clips, and video files."""
import os
import queue
import threading
import typing

from data_tools.base.errors import UserError
from data_tools.media import clips as clip_folders
from data_tools.media import video
from data_tools.media.images import read_image


class Source(typing.NamedTuple):
    """One clip to restore.

    name: str. length: int, frames. names: file names for the restored frames, without suffix.
    read: function(start) -> iterator of uint8 [H, W, 3] from frame `start` on. video: VideoInfo, None for images.
    path: str, the video file or the folder of the images.
    """
    name: str
    length: int
    names: typing.Tuple[str, ...]
    read: typing.Callable
    video: typing.Optional[video.VideoInfo]
    path: str


def find(path, scale=4, clips=None, allow_gaps=False, allow_damaged=False, progress=None):
    """The clips at a path.

    Args:
      path: a video file, a folder of images, a folder of clips or a dataset, see `data_tools.media.clips`.
      scale: int, tells the LQ folders of a dataset (blur4, X4).
      clips: list of names to take, None for all.
      allow_gaps: accept holes in the numbering of images.
      allow_damaged: restore what decodes of a damaged video.
      progress: see `video.inspect`.
    Returns:
      list of Source, not empty.
    Raises:
      UserError: nothing there, not a video, frames of unequal size, a damaged video, ...
    """
    if not os.path.exists(path):
        raise UserError('%s: no such file or folder; give a video, a folder of images or a folder of clips' % path)
    if os.path.isdir(path):
        return _folders(path, scale, clips, allow_gaps)
    if path.lower().endswith(clip_folders.IMAGE_SUFFIXES):
        raise UserError('%s is a single image; give the folder of the frames' % path)
    info = video.inspect(path, progress, allow_damaged)
    name = os.path.splitext(os.path.basename(path))[0]
    names = tuple('%08d' % index for index in range(info.num_frames))
    return [Source(name, info.num_frames, names, lambda start: video.decode(info, start), info, path)]


def _folders(path, scale, clips, allow_gaps):
    try:
        found = clip_folders.find_clips(path, scale, need_gt=False, clips=clips, allow_gaps=allow_gaps)
    except UserError as error:
        videos = [name for name in sorted(os.listdir(path)) if name.lower().endswith(video.SUFFIXES)]
        if not videos:
            raise
        raise UserError('%s; it holds videos: give one of them, such as %s'
                        % (error, os.path.join(path, videos[0]))) from None
    return [_images(clip) for clip in found]


def _images(clip):
    names = [os.path.splitext(os.path.basename(path))[0] for path in clip.lq_paths]
    seen = {}
    for name, path in zip(names, clip.lq_paths):
        if name in seen:
            raise UserError('clip %s: %s and %s would both become %s.png; rename or remove one'
                            % (clip.name, seen[name], path, name))
        seen[name] = path
    return Source(clip.name, clip.length, tuple(names), lambda start: map(read_image, clip.lq_paths[start:]), None,
                  os.path.dirname(clip.lq_paths[0]))


def read_ahead(items, depth=4):
    """Yields the items of an iterator that runs in a thread, at most `depth` items ahead; its error is raised here."""
    waiting, stopped = queue.Queue(depth), threading.Event()

    def hand_over(item, error):
        while not stopped.is_set():
            try:
                return waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def work():
        try:
            for item in items:
                hand_over(item, None)
                if stopped.is_set():
                    break
            else:
                hand_over(None, StopIteration())
        except BaseException as error:   # raised where the items are used
            hand_over(None, error)
        finally:
            if stopped.is_set() and hasattr(items, 'close'):
                items.close()   # ends the decoder

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()
