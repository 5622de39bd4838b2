"""The compiled convolutions of the CPU, deformable and plain: builds them, keeps them in a cache, loads them.

`python -m edvr.model.native_ops` (or scripts/build_ops.sh) builds them beforehand; otherwise their first use does, in
about 20 seconds. The cache is $EDVR_CACHE_DIR, else $XDG_CACHE_HOME/edvr, else ~/.cache/edvr. A library's name holds a
hash of all that it depends on - source, TensorFlow, processor, compiler, flags - so a change of any builds another one.
"""
import contextlib
import fcntl
import glob
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile

import tensorflow.compat.v1 as tf

from data_tools.base import program
from data_tools.base.errors import UserError

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'native')   # folder
CACHE_VARIABLE = 'EDVR_CACHE_DIR'
# The associative sums let the compiler vectorise dot products; NaN keeps its meaning (no -ffinite-math-only).
FLAGS = ['-O3', '-march=native', '-ffp-contract=fast', '-fassociative-math', '-fno-signed-zeros', '-fno-trapping-math',
         '-fno-math-errno', '-shared', '-fPIC']

_state = {}   # of this process: 'module' or 'failure' (text) once settled; 'noticed'


class BuildError(UserError):
    """The operator cannot be built or loaded here; the text says why."""


def cache_dir():
    """Folder of the built libraries and their logs (str)."""
    base = os.environ.get(CACHE_VARIABLE)
    if not base:
        user = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
        base = os.path.join(user, 'edvr')
    return os.path.join(base, 'native')


def compiler():
    """Path of the C++ compiler ($CXX, else g++), or None."""
    return shutil.which(os.environ.get('CXX') or 'g++')


def _output_of(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return result.returncode, result.stdout


def _processor():
    """What -march=native may depend on: architecture, model and instruction sets (str)."""
    lines = [platform.machine()]
    with contextlib.suppress(OSError), open('/proc/cpuinfo') as file:
        wanted = ('model name', 'flags', 'Features', 'CPU part')
        lines += sorted({line for line in file if line.startswith(wanted)})
    return '\n'.join(lines)


def _compile_flags():
    flags = tf.sysconfig.get_compile_flags()
    if not any('-std=' in flag for flag in flags):   # TensorFlow 1.15 leaves the standard open
        flags = flags + ['-std=c++14']
    return FLAGS + flags


def library_path(compiler_path):
    """Where the library of this source, TensorFlow, processor and compiler belongs (str)."""
    source = b''
    for name in sorted(os.listdir(SOURCE)):
        with open(os.path.join(SOURCE, name), 'rb') as file:
            source += file.read()
    parts = [tf.__version__, tf.version.GIT_VERSION, _processor(), compiler_path,
             _output_of([compiler_path, '--version'])[1], ' '.join(_compile_flags() + tf.sysconfig.get_link_flags())]
    key = hashlib.sha256(source + '\0'.join(parts).encode()).hexdigest()[:16]
    return os.path.join(cache_dir(), 'convolutions-tf%s-%s.so' % (tf.__version__, key))


@contextlib.contextmanager
def _lock(path):
    """Holds the lock file for the time of a build, so that processes starting together build once."""
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(compiler_path, path):
    """Compiles what is in SOURCE to `path`, which appears only when whole. Raises BuildError naming the log."""
    log = path[:-len('.so')] + '.log'
    folder, name = os.path.split(path)
    handle, partial = tempfile.mkstemp(dir=folder, prefix=name + '.', suffix='.partial')
    os.close(handle)
    sources = sorted(glob.glob(os.path.join(glob.escape(SOURCE), '*.cc')))
    try:
        command = [compiler_path] + _compile_flags() + sources + ['-o', partial] + tf.sysconfig.get_link_flags()
        code, output = _output_of(command)
        with open(log, 'w') as file:
            file.write('%s\n%s' % (' '.join(command), output))
        if code:
            raise BuildError('%s could not compile %s (exit code %d); its messages are in %s'
                             % (compiler_path, SOURCE, code, log))
        os.chmod(partial, 0o755)
        os.rename(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)


def build(force=False):
    """Builds the library unless the cache has it.

    Args:
      force: compile even if it is there (it does not load).
    Returns:
      str, its path.
    Raises:
      BuildError: no compiler, it fails, or the cache cannot be written.
    """
    compiler_path = compiler()
    if compiler_path is None:
        raise BuildError('no C++ compiler (%s) on the PATH; install g++ or name one in CXX'
                         % (os.environ.get('CXX') or 'g++'))
    path = library_path(compiler_path)
    if os.path.exists(path) and not force:
        return path
    try:
        os.makedirs(cache_dir(), exist_ok=True)
        with _lock(path[:-len('.so')] + '.lock'):
            if force or not os.path.exists(path):
                print('building the compiled deformable convolution (once; about 20 s) ...', file=sys.stderr,
                      flush=True)
                _compile(compiler_path, path)
    except OSError as error:
        raise BuildError('the folder of compiled operators cannot be used: %s; set %s to one that can be written'
                         % (error, CACHE_VARIABLE)) from error
    return path


def _load():
    path = build()
    try:
        return tf.load_op_library(path)
    except (tf.errors.OpError, RuntimeError):   # damaged, or of another TensorFlow under this name
        path = build(force=True)
    try:
        return tf.load_op_library(path)
    except (tf.errors.OpError, RuntimeError) as error:
        raise BuildError('%s was built but does not load: %s' % (path, error)) from error


def load():
    """The module with the operator `edvr_deform_conv`, built if need be.

    Raises:
      BuildError: it cannot be had; found out once per process.
    """
    if not _state:
        try:
            _state['module'] = _load()
        except BuildError as error:
            _state['failure'] = str(error)
    if 'failure' in _state:
        raise BuildError(_state['failure'])
    return _state['module']


def available():
    """Whether `load` works, building if need be; says why not, in one line and once per process."""
    try:
        load()
    except BuildError as error:
        if not _state.get('noticed'):
            print('notice: no compiled deformable convolution, using TensorFlow\'s own operators (slower): %s' % error,
                  file=sys.stderr, flush=True)
            _state['noticed'] = True
        return False
    return True


def deform_conv(x, offset, mask, weight, bias, deform_groups):
    """Modulated deformable convolution by the compiled operator; stride 1, "same" padding. CPU only.

    A sampling point without a corner inside the image, or whose offset is not a number, contributes zero and gets zero
    gradient. Derivatives at whole coordinates are those towards the right and the bottom. Results do not depend on the
    number of threads.

    Args:
      x: float32 or float64 [N, H, W, C].
      offset: like x's dtype [N, H, W, 2*G*K], [all dx | all dy], each group-major, then kernel point; K = kh*kw.
      mask: [N, H, W, G*K].
      weight: [kh, kw, C, Cout], kh and kw odd.
      bias: [Cout], or None.
      deform_groups: int, G; divides C.
    Returns:
      [N, H, W, Cout], with gradients to all five.
    Raises:
      BuildError: the operator cannot be had.
      tf.errors.InvalidArgumentError: when run, on shapes that do not agree; the text has the numbers.
    """
    if bias is None:
        bias = tf.zeros(tf.shape(weight)[3:], weight.dtype)
    return load().edvr_deform_conv(x, offset, mask, weight, bias, deform_groups=deform_groups)


def deform_conv_packed(x, packed, weight, bias, deform_groups):
    """`deform_conv` that takes offset and mask as a convolution predicts them.

    Args:
      packed: [N, H, W, 3*G*K], the offset, then the mask before its sigmoid.
      x, weight, bias, deform_groups: as in `deform_conv`; bias is not None.
    """
    mask = tf.zeros([0], x.dtype)
    return load().edvr_deform_conv(x, packed, mask, weight, bias, deform_groups=deform_groups, packed=True)


def conv(inputs, weight, bias=None, slope=1.0, residual=None, block=1):
    """depth_to_space(activation(convolution of the concatenated inputs + bias + residual), block), stride 1. CPU only.

    Results do not depend on the number of threads.

    Args:
      inputs: list of float32 or float64 [N, H, W, C_i].
      weight: same dtype [kh, kw, sum of C_i, Cout], kh and kw odd, static.
      bias: [Cout], or None.
      slope: float >= 0, what values below zero are multiplied by: 1 for no activation, 0 for ReLU.
      residual: [M, H, W, Cout], or None; M divides N, and N/M images next to each other share one.
      block: int, 1 for none.
    Returns:
      [N, block * H, block * W, Cout / block^2], with gradients to all of them.
    Raises:
      BuildError: the operator cannot be had.
      tf.errors.InvalidArgumentError: when run, on shapes that do not agree; the text has the numbers.
    """
    if bias is None:
        bias = tf.zeros([0], inputs[0].dtype)
    return load().edvr_conv(inputs, weight, bias, [] if residual is None else [residual], slope=slope, block=block)


def conv_input_gradient(weight, grad):
    """The gradient of the input of a stride-1 "same" convolution by the compiled operator. CPU only.

    Args:
      weight: float32 or float64 [kh, kw, C, Cout], kh and kw odd.
      grad: same dtype [N, H, W, Cout], gradient of the convolution's output.
    Returns:
      [N, H, W, C].
    """
    return load().edvr_conv([grad], weight, tf.zeros([0], grad.dtype), [], transposed=True)


def conv_weight_gradient(x, grad, kernel_size):
    """The gradient of the kernel of a stride-1 "same" convolution by the compiled operator. CPU only.

    Args:
      x: float32 or float64 [N, H, W, C].
      grad: same dtype [N, H, W, Cout], gradient of the convolution's output.
      kernel_size: (kh, kw), odd.
    Returns:
      [kh, kw, C, Cout].
    """
    return load().edvr_conv_weight_grad(x, grad, kernel_size=list(kernel_size))


@tf.RegisterGradient('EdvrDeformConv')
def _gradient(op, grad):
    x, offset, mask, weight, _ = op.inputs
    attributes = {name: op.get_attr(name) for name in ('deform_groups', 'packed')}
    return list(load().edvr_deform_conv_grad(x, offset, mask, weight, grad, **attributes))


@tf.RegisterGradient('EdvrConv')
def _conv_gradient(op, grad):
    if op.get_attr('transposed'):
        raise LookupError('%s is a gradient itself; second derivatives are not supported' % op.name)
    count, slope, block = (op.get_attr(name) for name in ('inputs', 'slope', 'block'))
    inputs, (weight, bias, *residual) = op.inputs[:count], op.inputs[count:]
    # an activated value has the sign of the value itself
    if slope == 0.0:
        grad = tf.raw_ops.ReluGrad(gradients=grad, features=op.outputs[0])
    elif slope != 1.0:
        grad = tf.raw_ops.LeakyReluGrad(gradients=grad, features=op.outputs[0], alpha=slope)
    if block > 1:
        grad = tf.space_to_depth(grad, block)
    d_bias = None if bias.shape[0] == 0 else tf.raw_ops.BiasAddGrad(out_backprop=grad)
    d_residual = []
    for value in residual:
        shape = tf.shape(value)
        d_residual.append(tf.reduce_sum(tf.reshape(grad, tf.concat([shape[:1], [-1], shape[1:]], 0)), axis=1))
    first, d_inputs, d_weight = 0, [], []
    for x in inputs:
        channels = int(x.shape[-1])
        d_inputs.append(conv_input_gradient(weight[:, :, first:first + channels], grad))
        d_weight.append(conv_weight_gradient(x, grad, weight.shape.as_list()[:2]))
        first += channels
    return d_inputs + [tf.concat(d_weight, axis=2), d_bias] + d_residual


def main():
    print(build())
    load()


if __name__ == '__main__':
    program.run(main)
