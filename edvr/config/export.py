"""The interface of an exported graph, and the options of `edvr.export`."""
import dataclasses
import os
from typing import Iterator, List, NamedTuple

from data_tools.base import paths
from data_tools.base.config import Config, option
from edvr.config.npu import NPU_DCN, PRECISION_MODES

OPEN = -1   # a dimension that is not fixed


class Format(NamedTuple):
    """A format of exported graphs; `edvr.exporting.formats` writes it.

    Attributes:
      suffix: of the name of its file; empty for a folder.
      text: for the help.
    """
    suffix: str
    text: str


FORMATS = dict(frozen=Format('.pb', 'one .pb with the weights as constants'),
               saved_model=Format('', 'a folder for TensorFlow Serving'),
               onnx=Format('.onnx', "one .onnx (pip install '.[onnx]')"))


@dataclasses.dataclass(frozen=True)
class InterfaceConfig(Config):
    """Shapes and types of input and output of an exported graph. Batch, height and width may be OPEN."""

    TITLE = 'interface'

    batch_size: int = option(OPEN, 'windows in one run; -1: open', low=OPEN)
    height: int = option(OPEN, 'height of the input in pixels, a multiple of 4 (16 with hr_in); -1: open', low=OPEN)
    width: int = option(OPEN, 'width of the input in pixels, a multiple of 4 (16 with hr_in); -1: open', low=OPEN)
    input_rank: int = option(5, '5: input [N, T, H, W, C]; 4: [N*T, H, W, C], frames of a window in a row',
                             choices=(4, 5))
    input_dtype: str = option('uint8', 'type of the input: uint8 in 0..255 or float32 in 0..1',
                              choices=('uint8', 'float32'))
    output_dtype: str = option('float32', 'type of the output: float32 around 0..1, not clipped; or uint8, rounded and '
                               'clipped in the graph', choices=('uint8', 'float32'))

    def problems(self) -> Iterator[str]:
        for name in ('batch_size', 'height', 'width'):
            if getattr(self, name) == 0:
                yield '%s is 0; it must be above 0, or -1 to leave it open' % name

    def input_shape(self, num_frames: int) -> List[int]:
        """Returns [N, T, H, W, 3], or [N*T, H, W, 3] for rank 4, OPEN for a dimension that is not fixed."""
        image = [self.height, self.width, 3]
        if self.input_rank == 5:
            return [self.batch_size, num_frames] + image
        return [OPEN if self.batch_size == OPEN else self.batch_size * num_frames] + image

    def output_shape(self, upscale: int) -> List[int]:
        """Returns [N, s*H, s*W, 3], OPEN for a dimension that is not fixed."""
        height, width = (OPEN if size == OPEN else size * upscale for size in (self.height, self.width))
        return [self.batch_size, height, width, 3]


@dataclasses.dataclass(frozen=True)
class ExportConfig(InterfaceConfig):
    """One exported graph."""

    TITLE = 'export'

    checkpoint: str = option(paths.RUN, 'folder of checkpoints (the latest is used) or prefix of one', common=True,
                             shown='checkpoint', path='checkpoint')
    output: str = option('', 'name of the graph: a file that ends in .pb, with --format=onnx in .onnx, with '
                         '--format=saved_model a folder; default: EDVR.pb, .onnx or EDVR beside the checkpoint; '
                         '--parts derives two names from it', common=True, path='derived')
    format: str = option('frozen', '; '.join('%s: %s' % (name, form.text) for name, form in FORMATS.items()),
                         choices=tuple(FORMATS))
    parts: bool = option(False, 'write two graphs, for clips: EDVR_features.pb, from a frame to its features, and '
                         'EDVR_restore.pb, from the features of a window to a frame, so that the features of each '
                         'frame are computed once; one frame, or one window, a run', common=True)
    kernels: str = option('tf', 'operators of the graph: tf runs in any TensorFlow; npu has the deformable convolution '
                          'of Ascend, for conversion by atc', choices=('tf', 'npu'), former='dcn_impl')
    half: bool = option(False, 'with --format=onnx: weights and values in float16, for GPUs; the input and the output '
                        'keep their types')
    npu_dcn: str = option('auto', 'with --kernels=npu: how deformable convolutions of several groups run: whole (one '
                          'call), split (a call for each group), auto (split where AI Core of --soc_version then takes '
                          'it)', choices=NPU_DCN)
    use_ema: bool = option(True, 'take the moving average of the weights where the checkpoint has one')
    soc_version: str = option('', 'chip of the atc command, such as Ascend910B1; without it no command is printed. '
                              'With --kernels=npu one whose AI Core has the operator: Ascend310P* (310P), Ascend910* '
                              '(910), Ascend910B* (Atlas A2), Ascend910_93* (Atlas A3), Ascend950* (950); Ascend310 '
                              'and Ascend310B* do not have it')
    precision_mode: str = option('allow_fp32_to_fp16', 'of the atc command: how float32 operations run on the chip; '
                                 'allow_fp32_to_fp16: convolutions in float16, other operators in float32 if they '
                                 'have it; force_fp16: always float16, the sampling positions too',
                                 choices=PRECISION_MODES)

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not self.checkpoint:
            yield '--checkpoint is not given; it must be a folder of checkpoints or the prefix of one'
        if self.kernels == 'npu':
            if OPEN in (self.height, self.width):
                yield ('--kernels=npu with --height=%d --width=%d; the Ascend operator needs both fixed'
                       % (self.height, self.width))
            if self.format != 'frozen':
                yield '--kernels=npu with --format=%s; for atc, only frozen graphs are written' % self.format
        if self.half and self.format != 'onnx':
            yield '--half with --format=%s; float16 is for --format=onnx' % self.format
        if self.parts and self.format != 'frozen':
            yield '--parts with --format=%s; the parts are frozen graphs' % self.format
        if self.parts and self.batch_size not in (OPEN, 1):
            yield '--parts with --batch_size=%d; the parts take one frame and one window in a run' % self.batch_size
        if self.parts and self.input_rank != 5:
            yield '--parts with --input_rank=%d; that is for windows: the parts take single frames' % self.input_rank
        suffix, others = FORMATS[self.format].suffix, [form.suffix for form in FORMATS.values() if form.suffix]
        if suffix and not self.destination.endswith(suffix):
            yield '--output=%s with --format=%s; the name must end in %s' % (self.output, self.format, suffix)
        if not suffix and self.destination.endswith(tuple(others)):
            yield '--output=%s with --format=%s; that is a folder: a name without %s' % (
                self.output, self.format, ' or '.join(others))

    @property
    def destination(self) -> str:
        """Returns the path to write."""
        return self.output or _beside(self.checkpoint, 'EDVR' + FORMATS[self.format].suffix)

    @property
    def interface(self) -> InterfaceConfig:
        """Returns the InterfaceConfig with this export's shapes and types; a part takes one frame or one window."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(InterfaceConfig)}
        return InterfaceConfig(**dict(fields, batch_size=1) if self.parts else fields)


@dataclasses.dataclass(frozen=True)
class ExportWeightsConfig(Config):
    """Weights for PyTorch."""

    TITLE = 'export'

    checkpoint: str = option(paths.RUN, 'model directory, or prefix of one of its checkpoints', shown='checkpoint',
                             path='checkpoint')
    output: str = option('', 'file to write: .safetensors, or that of PyTorch (.pth) with any other suffix; default: '
                         'EDVR.pth beside the checkpoint', path='derived')
    use_ema: bool = option(True, 'take the moving averages of the weights where the checkpoint has them')

    def problems(self) -> Iterator[str]:
        if not self.checkpoint:
            yield '--checkpoint is not given; it must be a folder of checkpoints or the prefix of one'

    @property
    def destination(self) -> str:
        """Returns the path to write."""
        return self.output or _beside(self.checkpoint, 'EDVR.pth')


def _beside(checkpoint: str, name: str) -> str:
    return os.path.join(checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint), name)
