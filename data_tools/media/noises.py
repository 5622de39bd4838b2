"""Noise on LQ: each kind is one formula, for NumPy (files) and for TensorFlow (crops in the input pipeline).

A formula gets its random numbers and `where` from an object `random`, so that this module loads no array library:

    normal()                  one number of the standard normal distribution for each value of the frame
    uniform()                 one number in [0, 1) for each pixel, the same for its three values
    where(condition, x, y)    x if the condition holds, else y, elementwise

A new kind is one entry of NOISES.
"""
import typing

Values = typing.Any   # np.ndarray or tf.Tensor, of floats


class Noise(typing.NamedTuple):
    """A kind of noise.

    Attributes:
      apply: function (frame, level, random) -> values, not rounded; frame float [..., H, W, 3] in grey levels (0-255).
      strength: what `level` means, for the help of options.
    """
    apply: typing.Callable[[Values, Values, typing.Any], Values]
    strength: str


def gaussian(frame: Values, level: Values, random: typing.Any) -> Values:
    """Adds normal noise with standard deviation `level`, in grey levels."""
    return frame + level * random.normal()


def speckle(frame: Values, level: Values, random: typing.Any) -> Values:
    """Adds normal noise with a standard deviation of `level` percent of each value."""
    return frame * (1 + level / 100 * random.normal())


def salt_pepper(frame: Values, level: Values, random: typing.Any) -> Values:
    """Makes `level` percent of the pixels black or white, half of them each."""
    draw, share = random.uniform(), level / 200
    return random.where(draw < share, 0., random.where(draw >= 1 - share, 255., frame))


NOISES = {
    'gaussian': Noise(gaussian, 'standard deviation in levels (0-255)'),
    'salt_pepper': Noise(salt_pepper, 'percent of replaced pixels'),
    'speckle': Noise(speckle, 'standard deviation in percent of the value'),
}


def describe_strengths() -> str:
    """Returns what the strength of each kind means, for the help of an option."""
    return ', '.join('%s for %s' % (noise.strength, name) for name, noise in NOISES.items())
