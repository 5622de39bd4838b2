"""The library of compiled operators: builds it, keeps it in a cache, loads it.

`python -m edvr.build_ops` builds it beforehand; otherwise its first use does, in about 20 seconds. The cache is
$EDVR_CACHE_DIR, else $XDG_CACHE_HOME/edvr, else ~/.cache/edvr. The name of a library contains a hash of all that it
depends on (source, TensorFlow, processor, compiler, flags), so a change of any builds another one. A library ends with
its own SHA-256: a truncated one would crash the process that loads it.
"""
import concurrent.futures
import contextlib
import fcntl
import functools
import glob
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import types
import typing

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'native')   # folder
CACHE_VARIABLE = 'EDVR_CACHE_DIR'
# The associative sums let the compiler vectorise dot products; NaN keeps its meaning (no -ffinite-math-only).
FLAGS = ['-O3', '-march=native', '-ffp-contract=fast', '-fassociative-math', '-fno-signed-zeros', '-fno-trapping-math',
         '-fno-math-errno', '-shared', '-fPIC']
DIGEST_BYTES = hashlib.sha256().digest_size


class Library(typing.NamedTuple):
    """Describes a library of operators that is built on the machine that uses it.

    Attributes:
      name: of its file, and in messages.
      source: folder of its source; each *.cc is compiled.
      flags: of the compiler, beside those of TensorFlow.
    """
    name: str
    source: str
    flags: typing.Sequence[str]


CONVOLUTIONS = Library('convolutions', SOURCE, FLAGS)

# of this process: 'module' or 'failure' (text) after the first attempt; 'noticed'
_state: typing.Dict[str, typing.Any] = {}


class BuildError(UserError):
    """The library cannot be built or loaded; the text gives the reason."""


def cache_dir() -> str:
    """Returns the folder of the built libraries and their logs."""
    base = os.environ.get(CACHE_VARIABLE)
    if not base:
        user = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
        base = os.path.join(user, 'edvr')
    return os.path.join(base, 'native')


def compiler() -> typing.Optional[str]:
    """Returns the path of the C++ compiler ($CXX, else g++), or None."""
    return shutil.which(os.environ.get('CXX') or 'g++')


def _output_of(command: typing.Sequence[str]) -> typing.Tuple[int, str]:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return result.returncode, result.stdout


def _processor() -> str:
    """Returns the properties on which -march=native depends: architecture, model and instruction sets."""
    lines = [platform.machine()]
    with contextlib.suppress(OSError), open('/proc/cpuinfo') as file:
        wanted = ('model name', 'flags', 'Features', 'CPU part')
        lines += sorted({line for line in file if line.startswith(wanted)})
    return '\n'.join(lines)


def _knows(compiler_path: str, flags: typing.Sequence[str], instructions: str) -> bool:
    """Returns whether a compiler with these flags generates a set of instructions, by the name of its macro."""
    macros = _output_of([compiler_path, *flags, '-dM', '-E', '-x', 'c++', os.devnull])[1]
    return '__%s__' % instructions in macros


def _compile_flags(library: Library) -> typing.List[str]:
    flags = tf.sysconfig.get_compile_flags()
    if not any('-std=' in flag for flag in flags):   # TensorFlow 1.15 names no standard
        flags = flags + ['-std=c++14']
    return list(library.flags) + flags


def library_path(compiler_path: str, library: Library = CONVOLUTIONS) -> str:
    """Returns the path of a library for this source, TensorFlow, processor and compiler."""
    source = b''
    for name in sorted(os.listdir(library.source)):
        with open(os.path.join(library.source, name), 'rb') as file:
            source += file.read()
    parts = [tf.__version__, tf.version.GIT_VERSION, _processor(), compiler_path,
             _output_of([compiler_path, '--version'])[1],
             ' '.join(_compile_flags(library) + tf.sysconfig.get_link_flags())]
    key = hashlib.sha256(source + '\0'.join(parts).encode()).hexdigest()[:16]
    return os.path.join(cache_dir(), '%s-tf%s-%s.so' % (library.name, tf.__version__, key))


def _writable_by_others(path: str) -> bool:
    """Returns whether a user can change `path`, other than this one, root and the owner of this package."""
    info = os.lstat(path)
    return info.st_uid not in _trusted() or bool(info.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _replaceable_by_others(base: str) -> bool:
    """Returns whether all users, or its owner, can rename what is in a folder; not in sticky ones of root, as /tmp."""
    info = os.stat(base)
    if info.st_uid == 0 and info.st_mode & stat.S_ISVTX:
        return False
    return info.st_uid not in _trusted() or bool(info.st_mode & stat.S_IWOTH)


def _trusted() -> typing.Set[int]:
    return {os.geteuid(), 0, os.stat(SOURCE).st_uid}


def is_valid(path: str) -> bool:
    """Returns whether the library at `path` is complete and only this user could have written it."""
    try:
        if _writable_by_others(path):
            return False
        with open(path, 'rb') as file:
            content = file.read()
    except FileNotFoundError:
        return False
    return hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]


def make_cache() -> None:
    """Makes the folder of the cache. Raises BuildError if others can write there: a library is code that runs."""
    folder = cache_dir()
    base = os.path.dirname(folder)
    for path in (base, folder):
        os.makedirs(path, mode=0o700, exist_ok=True)
    if _replaceable_by_others(base):
        raise BuildError('%s belongs to another user or is writable by all, who could replace the libraries in it; run '
                         'chmod o-w on it if it is yours, or set %s to another folder' % (base, CACHE_VARIABLE))
    if _writable_by_others(folder):
        raise BuildError('%s belongs to another user or is writable by others, so its libraries cannot be trusted; run '
                         'chmod go-w on it if it is yours, or set %s to another folder' % (folder, CACHE_VARIABLE))


@contextlib.contextmanager
def _alone(path: str, notice: str) -> typing.Iterator[None]:
    """Holds the lock file for the time of the work that a notice names, and prints when another process does it."""
    with open(path, 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('waiting for another process, which is %s' % notice, file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(compiler_path: str, path: str, log: str, library: Library) -> None:
    """Compiles the source of a library to `path`; its folder takes the objects. Raises BuildError, which names the log.

    Each file is compiled by a process of its own, as many at a time as there are cores.
    """
    flags, commands, objects = _compile_flags(library), [], []
    if _knows(compiler_path, flags, 'AVX512FP16'):
        # g++ 14 refuses what Eigen, in the headers of TensorFlow 2.15, does with these instructions
        flags = flags + ['-mno-avx512fp16']
    for source in sorted(glob.glob(os.path.join(glob.escape(library.source), '*.cc'))):
        objects.append(os.path.join(os.path.dirname(path), os.path.basename(source) + '.o'))
        commands.append([compiler_path] + flags + ['-c', source, '-o', objects[-1]])
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(_output_of, commands))
    if not any(code for code, _ in results):
        commands.append([compiler_path] + flags + objects + ['-o', path] + tf.sysconfig.get_link_flags())
        results.append(_output_of(commands[-1]))
    with open(log, 'w') as file:
        for command, (_, output) in zip(commands, results):
            file.write('%s\n%s' % (' '.join(command), output))
    failed = [code for code, _ in results if code]
    if failed:
        raise BuildError('%s could not compile %s (exit code %d); its messages are in %s'
                         % (compiler_path, library.source, failed[0], log))


def append_digest(path: str) -> None:
    """Appends the SHA-256 of a library to it. The dynamic linker does not read behind the sections it knows."""
    with open(path, 'rb+') as file:
        digest = hashlib.sha256(file.read()).digest()
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def keep(path: str, write: typing.Callable[[str], None], notice: str, force: bool = False) -> None:
    """Writes a file of the cache unless a valid one is there; processes that start together write it once.

    Args:
      path: in `cache_dir`; the file appears when it is complete, with its digest at the end.
      write: function(path) that writes the content to a file of a folder that is removed afterwards.
      notice: printed before the work.
      force: whether to write even if the cache has it.
    Raises:
      BuildError: the cache cannot be written or trusted.
    """
    try:
        make_cache()
        if is_valid(path) and not force:
            return
        folder, name = os.path.split(path)
        with _alone(os.path.splitext(path)[0] + '.lock', notice):
            if not force and is_valid(path):
                return
            print(notice, file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=name + '.', suffix='.partial') as drafts:
                partial = os.path.join(drafts, name)
                write(partial)
                append_digest(partial)
                os.chmod(partial, 0o755)
                os.rename(partial, path)
    except OSError as error:
        raise BuildError('the folder of compiled operators cannot be used: %s; set %s to one that can be written'
                         % (error, CACHE_VARIABLE)) from error


def build(force: bool = False, library: Library = CONVOLUTIONS) -> str:
    """Builds a library unless the cache has it.

    Args:
      force: whether to compile even if the cache has it.
      library: which one.
    Returns:
      Its path.
    Raises:
      BuildError: no compiler, it fails, or the cache cannot be written or trusted.
    """
    compiler_path = compiler()
    if compiler_path is None:
        raise BuildError('no C++ compiler (%s) on the PATH; install g++ or name one in CXX'
                         % (os.environ.get('CXX') or 'g++'))
    path = library_path(compiler_path, library)
    log = os.path.splitext(path)[0] + '.log'
    keep(path, functools.partial(_compile, compiler_path, log=log, library=library),
         'building the compiled %s (once; about 20 s) ...' % library.name, force)
    return path


def load_library(library: Library = CONVOLUTIONS) -> types.ModuleType:
    """Builds a library if needed, and returns its module. Raises BuildError if that fails."""
    path = build(library=library)
    try:
        return tf.load_op_library(path)
    except (tf.errors.OpError, RuntimeError):   # the library needs what this TensorFlow or system lacks
        path = build(True, library)
    try:
        return tf.load_op_library(path)
    except (tf.errors.OpError, RuntimeError) as error:
        raise BuildError('%s was built but does not load: %s' % (path, error)) from error


def load() -> types.ModuleType:
    """Returns the module of the operators (`edvr_deform_conv`, `edvr_conv` and their gradients), built if needed.

    Raises:
      BuildError: the library cannot be built or loaded; the first attempt of a process decides.
    """
    return first_attempt(_state, load_library)


def first_attempt(state: typing.Dict[str, typing.Any], load: typing.Callable[[], types.ModuleType]
                  ) -> types.ModuleType:
    """Returns what `load` returned, or raises what it raised, the first time; `state` keeps it, and is empty before."""
    if not state:
        try:
            state['module'] = load()
        except BuildError as error:
            state['failure'] = str(error)
    if 'failure' in state:
        raise BuildError(state['failure'])
    return state['module']


def attempt_succeeds(state: typing.Dict[str, typing.Any], load: typing.Callable[[], typing.Any], notice: str) -> bool:
    """Returns whether `load` works. If not, prints the notice with the reason in one line, once for a `state`."""
    try:
        load()
    except BuildError as error:
        if not state.get('noticed'):
            print('notice: %s: %s' % (notice, error), file=sys.stderr, flush=True)
            state['noticed'] = True
        return False
    return True


def has_bfloat16() -> bool:
    """Returns whether the compiled operators multiply bfloat16: the processor and the compiler know AVX512_BF16."""
    path = compiler()
    return path is not None and _knows(path, FLAGS, 'AVX512BF16')


def check_bfloat16(kernels: str) -> None:
    """Raises UserError if bfloat16 products cannot be computed.

    Args:
      kernels: 'native' if the compiled operators are used.
    """
    if kernels != 'native':
        raise UserError('--compute=bf16 needs the compiled operators, which a CPU has with --kernels=native; '
                        '--kernels is %s here' % kernels)
    if not has_bfloat16():
        raise UserError('--compute=bf16: this CPU or its compiler lacks AVX512_BF16 (g++ knows it from version 10 on); '
                        'use --compute=float32')


def available() -> bool:
    """Returns whether `load` works. Builds if needed. If not, prints the reason in one line, once per process."""
    return attempt_succeeds(_state, load, "no compiled convolutions; TensorFlow's own operators are used, which are "
                                          'slower')
