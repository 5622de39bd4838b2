"""PSNR and SSIM against scikit-image, and the conventions around them."""
import numpy as np
import pytest
from facts import raises_facts

from data_tools.base.errors import UserError
from edvr.evaluation import metrics
from edvr.restore import pixels


def pair(height=53, width=87, noise=9.0, seed=0):
    """Two alike uint8 images with structure."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    truth = np.stack([128 + 90 * np.sin(x / p + y / (p + 2)) for p in (3.0, 5.0, 9.0)], -1)
    noisy = truth + rng.normal(0, noise, truth.shape)
    return tuple(np.clip(np.rint(item), 0, 255).astype(np.uint8) for item in (noisy, truth))


def skimage_ssim(image, truth):
    skimage = pytest.importorskip('skimage')
    from skimage.metrics import structural_similarity
    axis = dict(channel_axis=-1) if int(skimage.__version__.split('.')[1]) >= 19 else dict(multichannel=True)
    return structural_similarity(image, truth, data_range=255, gaussian_weights=True, sigma=1.5,
                                 use_sample_covariance=False, **axis)


def skimage_psnr(image, truth):
    pytest.importorskip('skimage')
    from skimage.metrics import peak_signal_noise_ratio
    return peak_signal_noise_ratio(truth, image, data_range=255)


@pytest.mark.parametrize('size', [(53, 87), (11, 11), (75, 12)])
def test_rgb_agrees_with_scikit_image(size):
    image, truth = pair(*size)
    assert metrics.psnr(image, truth) == pytest.approx(skimage_psnr(image, truth), abs=1e-6)
    levels = image.astype(np.float64), truth.astype(np.float64)
    assert metrics.ssim(image, truth) == pytest.approx(skimage_ssim(*levels), abs=1e-6)


def test_unrounded_agrees_with_scikit_image():
    image, truth = pair()
    sr = image / 255.0 + np.random.RandomState(1).uniform(-0.4, 0.4, image.shape) / 255
    levels = np.clip(sr, 0, 1) * 255
    assert metrics.psnr(sr, truth) == pytest.approx(skimage_psnr(levels, truth.astype(np.float64)), abs=1e-6)
    assert metrics.ssim(sr, truth) == pytest.approx(skimage_ssim(levels, truth.astype(np.float64)), abs=1e-6)
    assert metrics.psnr(sr, truth) != metrics.psnr(pixels.to_uint8(sr), truth)


def test_luma_is_that_of_matlab_and_its_metrics_agree_with_scikit_image():
    skimage_color = pytest.importorskip('skimage.color')
    image, truth = pair()
    expected = [skimage_color.rgb2ycbcr(item)[..., :1] for item in (image, truth)]
    np.testing.assert_allclose(metrics.to_y(image), expected[0], atol=1e-9)
    np.testing.assert_allclose(metrics.to_y(image / 255.0), expected[0], atol=1e-9)
    np.testing.assert_allclose(metrics.to_y(np.uint8([[[0, 0, 0], [255, 255, 255]]]))[0, :, 0], [16, 235])
    assert metrics.psnr_y(image, truth) == pytest.approx(skimage_psnr(*expected), abs=1e-6)
    assert metrics.ssim_y(image, truth) == pytest.approx(skimage_ssim(*expected), abs=1e-6)


def test_crop_border_leaves_the_border_out():
    image, truth = pair()
    damaged = image.copy()
    damaged[:4], damaged[:, -4:] = 0, 255
    assert metrics.psnr(damaged, truth, crop_border=4) == metrics.psnr(image[4:-4, 4:-4], truth[4:-4, 4:-4])
    assert metrics.ssim(damaged, truth, crop_border=4) == metrics.ssim(image[4:-4, 4:-4], truth[4:-4, 4:-4])
    assert metrics.psnr(damaged, truth, crop_border=3) < metrics.psnr(image, truth, crop_border=3)


def test_known_psnr():
    black = np.zeros([4, 4, 3], np.uint8)
    assert metrics.psnr(black, black) == float('inf')
    assert metrics.psnr(black, black + 1) == pytest.approx(48.1308, abs=1e-4)


def test_to_uint8_rounds_and_clips():
    values = np.array([-0.2, 0.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 1.0, 7.0], np.float32)
    before = values.copy()
    np.testing.assert_array_equal(pixels.to_uint8(values), [0, 0, 0, 1, 254, 255, 255])
    np.testing.assert_array_equal(values, before)
    tall = np.random.RandomState(0).uniform(-.1, 1.1, (70, 3, 3)).astype(np.float32)
    for dtype, peak in ((np.uint8, 255), (np.uint16, 65535)):
        got = pixels.quantize(tall, dtype)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, np.rint(np.clip(tall, 0, 1) * np.float32(peak)))


def test_wrong_sizes_are_named():
    image, truth = pair(20, 30)
    with pytest.raises(UserError, match=r'\(20, 30, 3\) and \(20, 29, 3\)'):
        metrics.psnr(image, truth[:, 1:])
    with raises_facts(UserError, 'crop_border 10', '20x30'):
        metrics.psnr(image, truth, crop_border=10)
    with pytest.raises(UserError, match='at least 11x11; this one is 10x20'):
        metrics.ssim(image, truth, crop_border=5)
    with pytest.raises(TypeError, match='int64'):
        metrics.psnr(image.astype(np.int64), truth.astype(np.int64))
