"""ICC profiles of images: they state which colours the values of pixels mean; without one the colours are sRGB."""
import functools
import io
import typing

import numpy as np
from PIL import Image, ImageCms

from data_tools.base.errors import UserError

KEEP, SRGB = 'keep', 'srgb'
# stand for profiles that are none of the image
_UNUSABLE = {b'\0': 'it is damaged', b'\1': 'it is for grey images, and the image has colours'}
_HEADER = 128     # bytes
_RGB, _GREY = b'RGB ', b'GRAY'
_CLOSE = 1        # of 255: rounding


def embedded(image: Image.Image) -> bytes:
    """Returns the profile of an open image, b'' if it has none, or bytes that are a `problem`."""
    profile = image.info.get('icc_profile', b'')
    if profile is None:   # Pillow could not unpack it
        return b'\0'
    return b'\1' if _space(profile) == _GREY and image.mode not in ('1', 'L', 'LA') else bytes(profile)


def problem(profile: bytes) -> str:
    """Returns why a profile cannot be used, as viewers do not use it either; '' if it can."""
    if profile in _UNUSABLE:
        return _UNUSABLE[profile]
    if len(profile) < _HEADER or profile[36:40] != b'acsp':
        return 'it is damaged'
    size = int.from_bytes(profile[:4], 'big')
    if size != len(profile):
        return 'it is cut: it has %d bytes and states %d' % (len(profile), size)
    if _space(profile) not in (_RGB, _GREY):
        return 'it is for %s, and the image is RGB' % _space(profile).decode('ascii', 'replace').strip()
    try:
        _transform(profile)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return 'it is damaged (%s)' % str(error).strip()
    return ''


def _space(profile):
    return profile[16:20]


def name_of(profile: bytes) -> str:
    """Returns the name that a usable profile states, such as 'Display P3'."""
    try:
        name = ImageCms.getProfileDescription(io.BytesIO(profile)).strip()
    except ImageCms.PyCMSError:   # it states none
        name = ''
    return ''.join(letter for letter in name if letter.isprintable())[:60] or 'without a name'


@functools.lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Returns whether a usable profile gives the colours of sRGB, under any name."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    if _space(profile) == _GREY:
        cube = np.repeat(cube[..., :1], 3, -1)
    return bool(np.abs(np.asarray(to_srgb(Image.fromarray(cube), profile)).astype(int) - cube).max() <= _CLOSE)


def can_be_kept(profile: bytes) -> bool:
    """Returns whether a usable profile fits RGB images, which all written images are."""
    return _space(profile) == _RGB


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts an image of 8-bit RGB or grey by its usable profile to sRGB; colours outside of it are clipped."""
    image = image.convert('L' if _space(profile) == _GREY else 'RGB')
    return typing.cast(Image.Image, ImageCms.applyTransform(image, _transform(profile)))


@functools.lru_cache(maxsize=64)
def _transform(profile):
    return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile('sRGB'),
                                   'L' if _space(profile) == _GREY else 'RGB', 'RGB',
                                   renderingIntent=1)   # relative colorimetric: colours inside sRGB stay exact


class Found(typing.NamedTuple):
    """Holds the profiles of the images of a clip.

    Attributes:
      first: path of the first image with each profile, b'' for images without one.
    """
    first: typing.Mapping[bytes, str] = {}

    def notes(self) -> typing.List[str]:
        """Returns lines about profiles that cannot be used."""
        return ['the ICC profile of %s is ignored: %s' % (path, problem(profile))
                for profile, path in self.first.items() if profile and problem(profile)]

    def usable(self) -> typing.List[bytes]:
        """Returns the profiles that state colours, without those that cannot be used."""
        return [profile for profile in self.first if profile and not problem(profile)]

    def common(self) -> bytes:
        """Returns the profile that all images have, b'' for none: then they are sRGB.

        Raises:
          UserError: their values mean different colours.
        """
        usable = self.usable()
        if len(usable) == len(self.first) == 1:
            return usable[0]
        meanings = {b'' if profile not in usable or is_srgb(profile) else profile: path
                    for profile, path in self.first.items()}
        if len(meanings) > 1:
            texts = ['%s has %s' % (path, "the ICC profile '%s'" % name_of(profile) if profile else 'none of its own')
                     for profile, path in sorted(meanings.items(), reverse=True)[:2]]
            raise UserError('the values of the frames mean different colours: %s; --icc=srgb converts all to sRGB'
                            % ', '.join(texts))
        return next(iter(meanings), b'')


NONE = Found()
