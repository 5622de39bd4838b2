"""Reads and writes .pth files; runs no code in them: they are pickles, which may name any function to call."""
import inspect
import io
import tarfile
import zipfile
from typing import Any, Dict

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError

MIN_TORCH = '1.13'   # the first release whose torch.load can be restricted to tensors
_STARTS = (b'PK\x03\x04', b'\x80')   # of the containers of torch.save: a zip file; before PyTorch 1.6 a pickle
_TORCHSCRIPT = b'constants.pkl'      # the member by which torch.load knows such an archive


def load(path: str) -> Any:
    """Reads a file with torch.load, which may contain nothing but tensors; they become NumPy arrays.

    Tensors of types that NumPy lacks, such as bfloat16, become float32.

    Raises:
      UserError: PyTorch is missing or too old, or the file is damaged or not such a checkpoint. No code in the file is
        run.
    """
    torch = import_torch()
    if 'weights_only' not in inspect.signature(torch.load).parameters:
        raise UserError('PyTorch %s is too old to read %s: its torch.load runs whatever code a file names. Install '
                        'PyTorch %s or later (Python 3.7: pip install torch==1.13.1), or take '
                        'the weights as .safetensors, which needs no PyTorch'
                        % (torch.__version__, path, MIN_TORCH))
    _check_text(path)
    _check_container(path)
    _check_members(path)
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise UserError('%s: cannot be read: %s' % (path, error.strerror or error)) from None
    except Exception as error:   # torch raises its own, pickle's and zipfile's
        # the rest of the message advises to allow code in the file, which is dangerous
        reason = str(error).split('\n')[0].split('. ')[0]
        raise UserError('%s: not a PyTorch checkpoint of plain tensors: %s' % (path, reason)) from None
    return _arrays(checkpoint, path)


def _check_text(path):
    """Raises UserError for an empty file, and for one of text, such as the page of an error or a Git LFS pointer."""
    try:
        with files.open_regular(path) as file:
            start = file.read(1024)
    except OSError as error:
        raise UserError('%s: cannot be read: %s' % (path, error.strerror or error)) from None
    if not start:
        raise UserError('%s is empty: copy or download it again' % path)
    text = start.decode('utf-8', 'replace').rstrip('\ufffd')   # the last character may be cut
    if '\ufffd' not in text and all(character.isprintable() or character.isspace() for character in text):
        raise UserError('%s is a text, not a PyTorch checkpoint; it begins with %r: download the file itself, not its '
                        'page or its Git LFS pointer' % (path, text.strip().split('\n')[0][:60]))


def _check_container(path):
    """Raises UserError for TorchScript archives, tar files, and what is neither a zip file nor a pickle.

    Before PyTorch 2.6, torch.load runs the code of the first and unpacks the second, whatever `weights_only` is.
    """
    try:
        with files.open_regular(path) as file:
            start = file.read(4)
            # as bytes anywhere: no two readers of zip files find the same directory in each hostile file
            has_code = _contains(file, _TORCHSCRIPT)
            is_tar = _is_tar(file)
    except OSError as error:
        raise UserError('%s: cannot be read: %s' % (path, error.strerror or error)) from None
    if has_code:
        raise UserError('%s is a TorchScript archive, which contains code (%s), not a PyTorch checkpoint of plain '
                        'tensors: save the state_dict() of the module with torch.save'
                        % (path, _TORCHSCRIPT.decode()))
    if is_tar:
        raise UserError('%s is a tar file, not a PyTorch checkpoint of plain tensors; if PyTorch before 0.1.10 wrote '
                        'it, save its weights again with torch.save' % path)
    if not start.startswith(_STARTS):
        raise UserError('%s: not a PyTorch checkpoint of plain tensors: it begins with %r, neither as a zip file nor '
                        'as a pickle; copy or download it again' % (path, start))


def _contains(file, text):
    file.seek(0)
    end = b''
    for block in iter(lambda: file.read(1 << 22), b''):
        if text in end + block:
            return True
        end = (end + block)[-len(text):]
    return False


def _is_tar(file):
    """Returns whether the module tarfile, which torch.load uses, takes a file for a tar file without compression."""
    file.seek(0)
    try:
        tarfile.open(fileobj=file, mode='r:').close()
    except tarfile.TarError:
        return False
    except (ValueError, RecursionError):   # on numbers and chains of headers that no program writes
        return True
    return True


def save(path: str, values: Dict[str, np.ndarray]) -> None:
    """Writes float32 tensors by their names, under `params`; equal tensors give equal bytes.

    Raises:
      UserError: PyTorch is missing, or the file cannot be written.
    """
    torch, data = import_torch(), io.BytesIO()   # given a path, torch writes its name into the file
    torch.save({'params': {name: torch.from_numpy(value) for name, value in sorted(values.items())}}, data)
    files.write_bytes(path, data.getvalue())


def _check_members(path):
    """Raises UserError if a member of a zip file, PyTorch's container, fails its CRC, which torch.load does not check.

    The container before PyTorch 1.6 has no checksums, and torch.save can be set to write 0 for each.
    """
    try:
        with files.open_regular(path) as file:
            if not zipfile.is_zipfile(file):
                return
            with zipfile.ZipFile(file) as archive:
                has_checksums = any(member.CRC for member in archive.infolist())
                damaged = archive.testzip() if has_checksums else None
    except OSError as error:
        raise UserError('%s: cannot be read: %s' % (path, error.strerror or error)) from None
    except Exception as error:   # zipfile raises BadZipFile, zlib.error, struct.error, ValueError, ... on damage
        raise UserError('%s is damaged (%s): copy or download it again' % (path, error)) from None
    if damaged:
        raise UserError('%s is damaged: %s in it has another CRC than the file states: copy or download it again'
                        % (path, damaged))


def _arrays(value, path, key=''):
    if isinstance(value, dict):
        return {name: _arrays(item, path, name) for name, item in value.items()}
    if not hasattr(value, 'detach'):
        return value
    tensor = value.detach().cpu()
    try:
        if tensor.is_floating_point() and tensor.element_size() < 4:
            tensor = tensor.float()   # exact; NumPy has no bfloat16
        return tensor.numpy()
    except (TypeError, RuntimeError) as error:   # sparse, quantized
        raise UserError('%s: the tensor %s cannot be read (%s): save it as a dense tensor of float32'
                        % (path, key, str(error).split('\n')[0])) from None


def import_torch() -> Any:
    """Returns the module torch. Raises UserError if it is not installed."""
    try:
        import torch
    except ImportError:
        raise UserError('PyTorch is needed to read and write .pth files and is not installed: pip install torch '
                        '(any machine will do; the TensorFlow checkpoint can be copied)') from None
    return torch
