"""EDVR in plain NumPy, written for clarity from the description of the network. Tests compare with it.

Everything is float64, NHWC. `weights` maps names below `edvr/` (feature_extraction/0/conv1/weight, ...) to arrays.
"""
import numpy as np


def lrelu(x):
    return np.where(x > 0, x, 0.1 * x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(x, weight, bias, stride=1):
    """Zero padding of (k - 1) / 2 on every side."""
    size = weight.shape[0]
    pad = (size - 1) // 2
    padded = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)], 'constant')
    height, width = (-(-length // stride) for length in x.shape[1:3])
    y = np.zeros(x.shape[:1] + (height, width, weight.shape[3]))
    for i in range(size):
        for j in range(size):
            patch = padded[:, i:i + stride * height:stride, j:j + stride * width:stride]
            y += patch[:, :height, :width].dot(weight[i, j])
    return y + bias


def bilinear(x, scale):
    """Half-pixel centres, borders replicated."""
    for axis in (1, 2):
        size = x.shape[axis]
        position = np.clip((np.arange(size * scale) + 0.5) / scale - 0.5, 0, size - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, size - 1)
        shape = [1] * 4
        shape[axis] = -1
        fraction = (position - low).reshape(shape)
        x = (1 - fraction) * np.take(x, low, axis) + fraction * np.take(x, high, axis)
    return x


def pool(x, reduce, border):
    """3x3, stride 2, one pixel of `border` on every side."""
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], 'constant', constant_values=border)
    height, width = x.shape[1] // 2, x.shape[2] // 2
    windows = [padded[:, i:i + 2 * height:2, j:j + 2 * width:2] for i in range(3) for j in range(3)]
    return reduce(np.stack(windows), axis=0)


def max_pool(x):
    return pool(x, np.max, -np.inf)


def avg_pool(x):
    return pool(x, np.mean, 0)


def depth_to_space(x, scale):
    """Channels (dy, dx, c) become scale x scale pixels."""
    N, H, W, C = x.shape
    c = C // scale ** 2
    y = np.zeros((N, H * scale, W * scale, c))
    for dy in range(scale):
        for dx in range(scale):
            y[:, dy::scale, dx::scale] = x[..., (dy * scale + dx) * c:(dy * scale + dx + 1) * c]
    return y


def pixel_value(image, row, column):
    """[..., c]: the pixels of [H, W, c] at places [...]; zero outside."""
    height, width = image.shape[:2]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return inside[..., None] * image[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]


def sample(image, y, x):
    """Bilinear samples of [H, W, c] at the points (y, x), each [...]; nothing at NaN."""
    finite = np.isfinite(y) & np.isfinite(x)
    y, x = np.where(finite, y, -2), np.where(finite, x, -2)   # outside, with all its neighbours
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    fy, fx = (y - top)[..., None], (x - left)[..., None]
    return ((1 - fy) * (1 - fx) * pixel_value(image, top, left) + (1 - fy) * fx * pixel_value(image, top, left + 1)
            + fy * (1 - fx) * pixel_value(image, top + 1, left) + fy * fx * pixel_value(image, top + 1, left + 1))


def deform_conv(x, offset, mask, weight, bias, G):
    """Kernel point by kernel point; offset is [all dx | all dy], group-major, then kernel point."""
    N, H, W, C = x.shape
    K, c, P = weight.shape[0], C // G, weight.shape[0] ** 2
    out = np.zeros((N, H, W, weight.shape[3]))
    row, column = np.indices((H, W)) - (K - 1) // 2
    for n, g, k in np.ndindex(N, G, P):
        channels = slice(g * c, (g + 1) * c)
        dx, dy = offset[n, :, :, g * P + k], offset[n, :, :, G * P + g * P + k]
        value = sample(x[n, :, :, channels], row + k // K + dy, column + k % K + dx)
        out[n] += (mask[n, :, :, g * P + k, None] * value).dot(weight[k // K, k % K, channels])
    return out if bias is None else out + bias


class Network:
    """The stages, on the weights of one network."""

    def __init__(self, weights, config):
        self.weights, self.config = weights, config

    def conv(self, x, name, stride=1):
        return convolve(x, self.weights[name + '/weight'], self.weights[name + '/bias'], stride)

    def blocks(self, x, name, indices):
        for index in indices:
            x = self.block(x, '%s/%d' % (name, index))
        return x

    def block(self, x, name):
        return x + self.conv(np.maximum(self.conv(x, name + '/conv1'), 0), name + '/conv2')

    def first(self, frames):
        if self.config.with_predeblur:
            return self.conv(self.predeblur(frames), 'conv_1x1')
        if self.config.hr_in:
            x = lrelu(self.conv(frames, 'conv_first_1'))
            return lrelu(self.conv(lrelu(self.conv(x, 'conv_first_2', 2)), 'conv_first_3', 2))
        return lrelu(self.conv(frames, 'conv_first'))

    def predeblur(self, frames):
        l1 = lrelu(self.conv(frames, 'predeblur/conv_first'))
        if self.config.hr_in:
            l1 = lrelu(self.conv(l1, 'predeblur/stride_conv_hr1', 2))
            l1 = lrelu(self.conv(l1, 'predeblur/stride_conv_hr2', 2))
        l2 = lrelu(self.conv(l1, 'predeblur/stride_conv_l2', 2))
        l3 = lrelu(self.conv(l2, 'predeblur/stride_conv_l3', 2))
        l3 = bilinear(self.block(l3, 'predeblur/resblock_l3'), 2)
        l2 = self.block(l2, 'predeblur/resblock_l2_1') + l3
        l2 = bilinear(self.block(l2, 'predeblur/resblock_l2_2'), 2)
        l1 = self.blocks(l1, 'predeblur/resblock_l1', (0, 1)) + l2
        return self.blocks(l1, 'predeblur/resblock_l1', (2, 3, 4))

    def pyramid(self, frames):
        l1 = self.blocks(self.first(frames), 'feature_extraction', range(self.config.num_extract_block))
        l2 = lrelu(self.conv(lrelu(self.conv(l1, 'conv_l2_1', 2)), 'conv_l2_2'))
        return l1, l2, lrelu(self.conv(lrelu(self.conv(l2, 'conv_l3_1', 2)), 'conv_l3_2'))

    def dcn(self, x, features, name):
        G = self.config.deform_groups
        packed = self.conv(features, name + '/conv_offset')
        return deform_conv(x, packed[..., :18 * G], sigmoid(packed[..., 18 * G:]), self.weights[name + '/weight'],
                           self.weights[name + '/bias'], G), np.abs(packed[..., :18 * G])

    def align_one(self, frame, reference):
        """Pyramids (l1, l2, l3) of [1, h, w, C] -> aligned l1, {name: |offsets|}."""
        offsets, up_offset, up_feature = {}, None, None

        def conv(parts, name):
            return self.conv(np.concatenate(parts, axis=-1), 'pcd_align/' + name)

        for index, level in ((2, 'l3'), (1, 'l2'), (0, 'l1')):
            offset = lrelu(conv([frame[index], reference[index]], 'offset_conv1/' + level))
            if level == 'l3':
                offset = lrelu(conv([offset], 'offset_conv2/l3'))
            else:
                offset = lrelu(conv([offset, up_offset], 'offset_conv2/' + level))
                offset = lrelu(conv([offset], 'offset_conv3/' + level))
            feature, offsets[level] = self.dcn(frame[index], offset, 'pcd_align/dcn_pack/' + level)
            if level != 'l3':
                feature = conv([feature, up_feature], 'feat_conv/' + level)
            if level != 'l1':
                feature = lrelu(feature)
            up_offset, up_feature = 2 * bilinear(offset, 2), bilinear(feature, 2)
        offset = lrelu(conv([lrelu(conv([feature, reference[0]], 'cas_offset_conv1'))], 'cas_offset_conv2'))
        feature, offsets['cas'] = self.dcn(feature, offset, 'pcd_align/cas_dcnpack')
        return lrelu(feature), offsets

    def align(self, pyramid):
        """Levels [T, h, w, C] of one window -> [T, H, W, C], {name: mean |offset|}."""
        T = self.config.num_frames
        reference = [level[T // 2:T // 2 + 1] for level in pyramid]
        aligned, offsets = zip(*[self.align_one([level[t:t + 1] for level in pyramid], reference) for t in range(T)])
        return np.concatenate(aligned), {name: np.mean([each[name] for each in offsets]) for name in offsets[0]}

    def fuse(self, aligned):
        """[T, H, W, C] -> [1, H, W, C]."""
        T = len(aligned)
        if not self.config.with_tsa:
            return self.conv(np.concatenate([aligned[t:t + 1] for t in range(T)], axis=-1), 'fusion')

        def conv(x, name):
            return self.conv(x, 'fusion/' + name)

        reference = conv(aligned[T // 2:T // 2 + 1], 'temporal_attn1')
        gated = []
        for t in range(T):
            embedding = conv(aligned[t:t + 1], 'temporal_attn2')
            gated.append(aligned[t:t + 1] * sigmoid((embedding * reference).sum(axis=-1, keepdims=True)))
        stack = np.concatenate(gated, axis=-1)
        feature = lrelu(conv(stack, 'feat_fusion'))
        attention = lrelu(conv(stack, 'spatial_attn1'))
        attention = lrelu(conv(np.concatenate([max_pool(attention), avg_pool(attention)], -1), 'spatial_attn2'))
        level = lrelu(conv(attention, 'spatial_attn_l1'))
        level = lrelu(conv(np.concatenate([max_pool(level), avg_pool(level)], -1), 'spatial_attn_l2'))
        level = bilinear(lrelu(conv(level, 'spatial_attn_l3')), 2)
        attention = lrelu(conv(attention, 'spatial_attn3')) + level
        attention = conv(bilinear(lrelu(conv(attention, 'spatial_attn4')), 2), 'spatial_attn5')
        add = conv(lrelu(conv(attention, 'spatial_attn_add1')), 'spatial_attn_add2')
        return feature * sigmoid(attention) * 2 + add

    def reconstruct(self, feature, centre):
        x = self.blocks(feature, 'reconstruction', range(self.config.num_reconstruct_block))
        if self.config.scale == 4 or self.config.hr_in:
            x = lrelu(depth_to_space(self.conv(x, 'upconv1'), 2))
            x = lrelu(depth_to_space(self.conv(x, 'upconv2'), 2))
        else:
            x = lrelu(depth_to_space(self.conv(x, 'upconv1'), self.config.scale))
        x = self.conv(lrelu(self.conv(x, 'conv_hr')), 'conv_last')
        return x + (centre if self.config.hr_in else bilinear(centre, self.config.scale))

    def restore(self, frames):
        """[T, H, W, 3] in [0, 1] -> [s*H, s*W, 3], {name: mean |offset|}."""
        aligned, means = self.align(self.pyramid(frames))
        centre = self.config.num_frames // 2
        return self.reconstruct(self.fuse(aligned), frames[centre:centre + 1])[0], means
