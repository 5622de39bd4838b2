"""Paths on other machines, given to options: what can be read, and programs that work on copies of obs://.

A program that is given obs:// starts itself again with local paths. It copies inputs and outputs to --cache_dir before,
and copies outputs back while that process runs and when it has ended. So no other module uses OBS, and a training job
that starts on another machine finds its checkpoints.
"""
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Dict, List, NamedTuple, Sequence

from data_tools.base import files, interrupts, lock, mirror, program
from data_tools.base.errors import UserError
from data_tools.base.object_store import SCHEME, ObjectStore

# the uses of paths: a checkpoint may be a prefix, a derived output is by default beside an input, local is never copied
INPUT, CHECKPOINT, OUTPUT, DERIVED, LOCAL = 'input', 'checkpoint', 'output', 'derived', 'local'
INPUTS = (INPUT, CHECKPOINT)
CACHE_DIR = '/cache'             # the local disk of ModelArts
COPIES = 'EDVR_COPIES'           # in the environment of the process that works on copies: their paths, by os.pathsep
_FOLDER = 'edvr_copies'          # in the cache, so that nothing else there is replaced
_PERIOD = 10.                    # seconds between two copies back
_SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://')


class Given(NamedTuple):
    """Describes a path that an option was given.

    Attributes:
      option: its name.
      path: its value.
      use: INPUT, CHECKPOINT, OUTPUT, DERIVED or LOCAL.
      gfile: whether the option also takes paths of TensorFlow's file systems.
    """
    option: str
    path: str
    use: str
    gfile: bool

    @property
    def scheme(self) -> str:
        """Returns the scheme of the path, in lower case; '' for a path of this machine."""
        match = _SCHEME.match(self.path)
        return match.group(1).lower() if match else ''


def require_readable(given: Sequence[Given], runner: str = '') -> None:
    """Raises UserError for the first path that neither TensorFlow nor moxing can reach, or whose default would be lost.

    Args:
      given: the paths of all options.
      runner: of Apache Beam, whose machines do not have the copies of this one.
    """
    copied = [each for each in given if each.path.startswith(SCHEME) and each.use in INPUTS]
    for each in given:
        if runner and each.path.startswith(SCHEME):
            raise UserError('--runner=%s with --%s=%s: obs:// is copied to this machine, and the machines of Apache '
                            'Beam do not have the copy; mount the bucket, or copy it to a disk that all share, and '
                            'give that path' % (runner, each.option, each.path))
        if copied and each.use == DERIVED and not each.path:
            raise UserError('--%s is not given, and would be in the copy of --%s=%s: give it, as a local path or obs://'
                            % (each.option, copied[0].option, copied[0].path))
        if each.scheme and each.use == LOCAL:
            raise UserError('--%s=%s: this option takes a path of this machine only: give a folder here'
                            % (each.option, each.path))
        if each.path.startswith(SCHEME):
            _parts(each)
        elif each.scheme and not each.gfile:
            raise UserError('--%s=%s: this option takes a path of this machine, or obs:// where moxing is installed; '
                            'copy it, or mount it' % (each.option, each.path))
        elif each.scheme:
            _require_file_system(each)


def _require_file_system(given: Given) -> None:
    tf = files.tensorflow()
    try:
        tf.io.gfile.exists(given.path)
    except tf.errors.UnimplementedError:
        known = getattr(tf.io.gfile, 'get_registered_schemes', lambda: ('gs', 's3', 'hdfs'))()
        usable = sorted('%s://' % name for name in known if name not in ('', 'file', 'ram') and name != given.scheme)
        raise UserError('--%s=%s: TensorFlow %s does not read %s://; it reads %s and paths of this machine, the wheel '
                        'of TensorFlow 1.15 also s3:// (with S3_ENDPOINT), and obs:// is copied where moxing is '
                        'installed'
                        % (given.option, given.path, tf.__version__, given.scheme, ', '.join(usable))) from None
    except tf.errors.OpError as error:
        raise UserError('--%s=%s cannot be reached: %s'
                        % (given.option, given.path, str(error).split('\n')[0])) from None


def run(given: Sequence[Given], cache_dir: str) -> int:
    """Runs this program on copies of the paths that are obs://; returns its exit code.

    Raises:
      UserError: moxing, the cache or an input is missing; or outputs could not be copied back, and remain in the cache.
    """
    store = ObjectStore()
    try:
        files.make_dir(os.path.join(cache_dir, _FOLDER))
    except UserError as error:
        raise UserError('%s; it is for copies of obs://: choose another with --cache_dir' % error) from None
    remote = [each for each in given if each.path.startswith(SCHEME)]
    paths = {each.option: _local(each, cache_dir) for each in remote}
    with contextlib.ExitStack() as stack:
        mirrors: Dict[str, mirror.Mirror] = {}
        for each in remote:
            path = paths[each.option]
            if each.use in INPUTS:
                if not _copied(store, each, path):
                    raise UserError('--%s=%s: there is nothing' % (each.option, each.path))
            elif path not in mirrors:
                folder, name = os.path.split(path)
                files.make_dir(os.path.dirname(folder))
                stack.enter_context(lock.hold(folder + '.lock', folder, '--cache_dir'))
                files.remove(folder)
                files.make_dir(folder)
                found = [os.path.join(name, inside) if inside else name for inside in _copied(store, each, path)]
                # with what the program writes beside it, such as OUTPUT_preview
                mirrors[path] = mirror.Mirror(store, each.path.rstrip('/').rpartition('/')[0], folder, found)
        command = program.command(['--%s=%s' % item for item in sorted(paths.items())])
        environment = dict(os.environ, **{COPIES: os.pathsep.join(paths.values())})
        code = _supervise(command, environment, mirrors)
    return code


def _local(given: Given, cache_dir: str) -> str:
    """Returns the path of the copy. Each output has a folder, because it may be inside an input or another output."""
    root, parts = os.path.join(os.path.abspath(cache_dir), _FOLDER), _parts(given)
    if given.use in INPUTS:
        return os.path.join(root, 'in', *parts)
    return os.path.join(root, 'out', '+'.join(parts), parts[-1])


def _parts(given: Given) -> List[str]:
    """Returns the names in an obs:// path. Raises UserError if it has no bucket, or leads out of it."""
    parts = given.path[len(SCHEME):].rstrip('/').split('/')
    if any(part in ('', '.', '..') for part in parts) or (given.use not in INPUTS and len(parts) < 2):
        raise UserError('--%s=%s: it must be obs://BUCKET/NAME, without empty names, . and ..'
                        % (given.option, given.path))
    if ',' in given.path:
        raise UserError('--%s=%s: only one folder can be copied; copy several with obsutil, and give local paths'
                        % (given.option, given.path))
    return parts


def _copied(store: ObjectStore, given: Given, path: str) -> List[str]:
    """Copies what is at the path of an option to `path`; returns the names of the files."""
    began = time.monotonic()
    print('copying --%s=%s to %s' % (given.option, given.path, path), flush=True)
    names = mirror.download(store, given.path, path, given.use == CHECKPOINT, exact=given.use in INPUTS)
    print('copied %d files in %.0f s' % (len(names), time.monotonic() - began), flush=True)
    return names


def _supervise(command: List[str], environment: Dict[str, str], mirrors: Dict[str, mirror.Mirror]) -> int:
    """Runs the program and copies its outputs back; signals are for the program, which saves and ends.

    Returns:
      the exit code of the program.
    Raises:
      UserError: at the end outputs could not be copied.
    """
    ended = threading.Event()
    copier = threading.Thread(target=_copy_back, args=(mirrors, ended), daemon=True)
    with interrupts.raised(signal.SIGINT, signal.SIGTERM, *interrupts.hangup()):
        # a separate session: Ctrl-C reaches this process only
        child = subprocess.Popen(interrupts.bound(command), env=environment, start_new_session=True)
        try:
            copier.start()
            code = child.wait()
        except interrupts.Stopped as stop:
            child.send_signal(stop.number)
            code = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
            ended.set()
            copier.join()
        for path, each in mirrors.items():
            try:
                print('copied %d files back from %s' % (each.sync(), path), flush=True)
            except UserError as error:
                raise UserError('%s. The outputs are complete in %s: copy them with obsutil before you start again, '
                                'which replaces them' % (error, path)) from error
    return code if code >= 0 else 128 - code


def _copy_back(mirrors: Dict[str, mirror.Mirror], ended: threading.Event) -> None:
    while not ended.wait(_PERIOD):
        for each in mirrors.values():
            try:
                each.sync()
            except UserError as error:   # the next time may be better, and the last one is not silent
                print('warning: %s; trying again' % error, file=sys.stderr, flush=True)


def original(path: str) -> str:
    """Returns the obs:// path of which an input is the copy, in any --cache_dir; other paths are returned unchanged."""
    _, found, rest = path.partition('/%s/in/' % _FOLDER)
    return SCHEME + rest if found else path


def is_copy(path: str) -> bool:
    """Returns whether `path` is a copy of obs://, in which nobody sees what others write to it."""
    return os.path.abspath(path) in os.environ.get(COPIES, '').split(os.pathsep)
