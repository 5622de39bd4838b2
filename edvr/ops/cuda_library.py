"""The operators of the deformable convolution on NVIDIA GPUs: builds them, compiles their kernels, loads both.

It needs no CUDA toolkit. The operators are built by g++ against the installed TensorFlow, as `native_library` builds
those for CPUs. NVRTC, a library in the CUDA wheels of `tensorflow[and-cuda]` and in every toolkit, compiles the kernels
once for each kind of GPU; the cache of `native_library` keeps the result. The driver, libcuda, launches them.
"""
import concurrent.futures
import ctypes
import glob
import hashlib
import os
import sys
import types
import typing

from edvr.ops import native_library
from edvr.ops.native_library import BuildError, Library

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cuda')   # folder
KERNELS = os.path.join(SOURCE, 'kernels.cu')
OPERATORS = Library('cuda-operators', SOURCE, ('-O2', '-w', '-shared', '-fPIC'))
DRIVER = 'libcuda.so.1'
NVRTC = ('libnvrtc.so.12', 'libnvrtc.so.11.2', 'libnvrtc.so')   # names for the dynamic linker
_OPTIONS = ('--std=c++14', '--ptxas-options=-v')
_MAJOR, _MINOR = 75, 76   # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR

# of this process: 'module' or 'failure' (text) after the first attempt; 'noticed'
_state: typing.Dict[str, typing.Any] = {}


def architectures() -> typing.List[int]:
    """Returns the compute capabilities of the GPUs that this process sees, 80 for 8.0, sorted.

    Raises:
      BuildError: no driver, or no GPU.
    """
    driver = _open([DRIVER], 'the driver of NVIDIA GPUs')
    count, device, values = ctypes.c_int(), ctypes.c_int(), (ctypes.c_int * 2)()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    found = set()
    for number in range(0 if code else count.value):
        code = code or driver.cuDeviceGet(ctypes.byref(device), number)
        for place, attribute in enumerate((_MAJOR, _MINOR)):
            at = ctypes.byref(values, place * ctypes.sizeof(ctypes.c_int))
            code = code or driver.cuDeviceGetAttribute(at, attribute, device)
        found.add(10 * values[0] + values[1])
    if code or not found:
        raise BuildError('%s sees no GPU (error %d); check nvidia-smi and CUDA_VISIBLE_DEVICES' % (DRIVER, code))
    return sorted(found)


def nvrtc() -> ctypes.CDLL:
    """Opens NVRTC: of the CUDA wheels in this Python's packages, or of the dynamic linker. Raises BuildError.

    That of the wheels comes first: a toolkit on the host may be newer, and its machine code too new for the driver.
    """
    wheels = [path for folder in sys.path
              for path in sorted(glob.glob(os.path.join(glob.escape(folder), 'nvidia', 'cuda_nvrtc', 'lib',
                                                        'libnvrtc.so.*')))]
    return _open(wheels + list(NVRTC), "NVRTC, which pip install 'tensorflow[and-cuda]' or a CUDA toolkit brings")


def _open(names: typing.Sequence[str], what: str) -> ctypes.CDLL:
    problem = None
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            problem = problem or error
    raise BuildError('%s cannot be opened (%s)' % (what, problem))


def compile_kernels(compiler: ctypes.CDLL, architecture: int) -> typing.Tuple[bytes, str]:
    """Compiles the kernels for a kind of GPU; no GPU is needed.

    Args:
      compiler: the result of `nvrtc`.
      architecture: such as 80.
    Returns:
      (machine code, or PTX where this NVRTC does not know the GPU; the messages, with the registers of each kernel).
    Raises:
      BuildError: with NVRTC's messages.
    """
    # NVRTC leaves the locale C to the thread that compiles, where text is no longer UTF-8
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(_compile, compiler, architecture).result()


def _compile(compiler: ctypes.CDLL, architecture: int) -> typing.Tuple[bytes, str]:
    newest = _newest(compiler)
    known = hasattr(compiler, 'nvrtcGetCUBIN') and architecture <= newest
    target = 'sm_%d' % architecture if known else 'compute_%d' % min(architecture, newest)
    program = ctypes.c_void_p()
    with open(KERNELS, 'rb') as file:
        source = file.read()
    _check(compiler, compiler.nvrtcCreateProgram(ctypes.byref(program), source, os.path.basename(KERNELS).encode(), 0,
                                                 None, None))
    try:
        options = [option.encode() for option in ('--gpu-architecture=' + target,) + _OPTIONS]
        code = compiler.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        messages = _text(compiler, program, 'ProgramLog').rstrip(b'\0').decode('utf-8', 'replace')
        if code:
            raise BuildError('NVRTC could not compile %s for %s (error %d): %s'
                             % (KERNELS, target, code, messages[:2000]))
        return _text(compiler, program, 'CUBIN' if known else 'PTX'), messages
    finally:
        compiler.nvrtcDestroyProgram(ctypes.byref(program))


def _newest(compiler: ctypes.CDLL) -> int:
    """Returns the newest architecture that an NVRTC compiles for."""
    if not hasattr(compiler, 'nvrtcGetSupportedArchs'):   # before CUDA 11.2
        return 75
    count = ctypes.c_int()
    _check(compiler, compiler.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    found = (ctypes.c_int * count.value)()
    _check(compiler, compiler.nvrtcGetSupportedArchs(found))
    return max(found)


def _text(compiler: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(compiler, getattr(compiler, 'nvrtcGet%sSize' % what)(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(compiler, getattr(compiler, 'nvrtcGet' + what)(program, text))
    return text.raw


def _check(compiler: ctypes.CDLL, code: int) -> None:
    if code:
        compiler.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise BuildError('NVRTC failed: %s (%d)' % (compiler.nvrtcGetErrorString(code).decode(), code))


def kernels_for(architecture: int) -> bytes:
    """Returns the compiled kernels for a kind of GPU, from the cache if it has them. Raises BuildError."""
    with open(KERNELS, 'rb') as file:
        source = file.read()
    compiler = nvrtc()
    key = hashlib.sha256(source + repr((_OPTIONS, _version(compiler))).encode()).hexdigest()[:16]
    path = os.path.join(native_library.cache_dir(), 'cuda-kernels-sm%d-%s.bin' % (architecture, key))

    def write(partial: str) -> None:
        with open(partial, 'wb') as file:
            file.write(compile_kernels(compiler, architecture)[0])
    native_library.keep(path, write, 'compiling the GPU kernels for sm_%d (once; about 4 s) ...' % architecture)
    with open(path, 'rb') as file:
        return file.read()[:-native_library.DIGEST_BYTES]


def _version(compiler: ctypes.CDLL) -> typing.Tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(compiler, compiler.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


def _load() -> types.ModuleType:
    images = {architecture: kernels_for(architecture) for architecture in architectures()}
    module = native_library.load_library(OPERATORS)
    library = ctypes.CDLL(native_library.build(library=OPERATORS))   # the one that TensorFlow has loaded
    library.edvr_cuda_open.restype = ctypes.c_char_p
    problem = library.edvr_cuda_open(DRIVER.encode())
    if problem:
        raise BuildError('the driver of NVIDIA GPUs cannot be used: %s' % problem.decode())
    for architecture, image in images.items():
        library.edvr_cuda_add(architecture, image, ctypes.c_size_t(len(image)))
    return module


def load() -> types.ModuleType:
    """Returns the module of the operators, `edvr_cuda_sample` and its gradient; builds and compiles them if needed.

    Raises:
      BuildError: no GPU, driver, NVRTC or compiler, or one of them fails; the first attempt of a process decides.
    """
    return native_library.first_attempt(_state, _load)


def available() -> bool:
    """Returns whether `load` works. If not, prints the reason in one line, once per process."""
    return native_library.attempt_succeeds(_state, load, 'no GPU operator of the deformable convolution; '
                                           "TensorFlow's own operations are used, which are slower")
