// The sampling of the modulated deformable convolution on a GPU, forward and gradients. One source for two compilers:
// NVRTC compiles it for a GPU; g++ compiles it as C++, where loops over blocks and threads run a kernel, for tests.
//
// The contract is that of edvr/ops/deform_conv.py. A sampled value of output pixel m, group g, kernel point k, channel c
// of the group is columns[((m*G + g)*P + k)*(C/G) + c], so that the convolution is columns [M, P*C] times the kernel
// with its rows in this order. Letters: N images, H W size, C channels, G groups, K kernel size, P = K*K, M = N*H*W.
//
// A sampling point has `lanes` neighbouring threads. The channels of the group are contiguous in memory; each thread
// reads and writes V of them at a time (128 bits where C/G allows it), so that neighbours access one piece of memory.
// Storage is float or half; all sums are float.

#ifdef __CUDACC_RTC__

typedef long long int64_t;

// sums of vectors came with CUDA 12.1, for sm_90
#if __CUDA_ARCH__ >= 900 && __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1201
#define EDVR_VECTOR_SUMS
#endif

#else

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__

namespace {
struct Index { unsigned x; };
thread_local Index blockIdx, threadIdx, blockDim, gridDim;
inline float atomicAdd(float* to, float value) { return *to += value; }
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long value) { return *to += value; }
inline long long __float2ll_rn(float value) { return std::llrintf(value); }
inline float floorf_(float value) { return std::floor(value); }
}  // namespace

#endif

namespace {

struct half { unsigned short bits; };

// V values that are read and written by one instruction.
template <typename T, int V>
struct alignas(sizeof(T) * V) Chunk { T values[V]; };

struct Sizes {
  int64_t points;   // M * G * P
  int height, width, channels, groups, kernel;
  int lanes;   // threads of a point: a power of two, at most 32
};

__device__ inline float Read(float value) { return value; }
__device__ inline void Write(float value, float* to) { *to = value; }

#ifdef __CUDACC_RTC__

__device__ inline float floorf_(float value) { return floorf(value); }

// The sum of the values of a point's threads, in each of them.
__device__ inline float SumOfLanes(float value, int lanes) {
  const unsigned first = threadIdx.x & 31 & ~(lanes - 1), mask = (0xffffffffu >> (32 - lanes)) << first;
  for (int distance = 1; distance < lanes; distance *= 2) value += __shfl_xor_sync(mask, value, distance);
  return value;
}

// the header for half comes with a CUDA toolkit only
__device__ inline float Read(half value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}
__device__ inline void Write(float value, half* to) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(value));
}

#else

float SumOfLanes(float value, int lanes);   // of the file that includes this one, and runs the threads

inline float Read(half value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000) << 16, exponent = value.bits >> 10 & 31, mantissa = value.bits & 1023;
  if (exponent == 0) {
    const float small = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -small : small;
  }
  const uint32_t bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

// Rounds to nearest, ties to even.
inline void Write(float value, half* to) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint16_t sign = bits >> 16 & 0x8000;
  const float magnitude = std::fabs(value);
  if (value != value) {
    to->bits = sign | 0x7e00;
  } else if (magnitude >= 65520.f) {
    to->bits = sign | 0x7c00;
  } else if (magnitude < 6.103515625e-5f) {   // below the smallest normal number: a multiple of 2^-24
    to->bits = sign | static_cast<uint16_t>(std::lrint(std::ldexp(magnitude, 24)));
  } else {
    uint32_t rest = bits & 0x7fffffff;
    rest += 0xfff + (rest >> 13 & 1);
    to->bits = sign | static_cast<uint16_t>((rest >> 13) - (112 << 10));
  }
}

#endif

// 64 bits are divided by a long sequence of instructions, which few sizes need.
__device__ inline int64_t Divide(int64_t value, int by) {
  if (value >> 32 == 0) return static_cast<unsigned>(value) / static_cast<unsigned>(by);
  return value / by;
}

// The pixels around a sampling point, and the shares of the point: nothing for a point far outside or at NaN.
struct Place {
  int top, left;
  float down, right;   // the distances from the top left pixel
  bool inside;
};

template <typename U>
__device__ inline Place Find(const Sizes& sizes, int64_t point, const U* offset, int64_t* pixel, int* group) {
  const int kernel_points = sizes.kernel * sizes.kernel, all = sizes.groups * kernel_points;
  *pixel = Divide(point, all);
  const int own = static_cast<int>(point - *pixel * all), k = own % kernel_points;
  *group = own / kernel_points;
  const int64_t row = Divide(*pixel, sizes.width);
  const int x = static_cast<int>(*pixel - row * sizes.width);
  const int y = static_cast<int>(row - Divide(row, sizes.height) * sizes.height);
  const int padding = sizes.kernel / 2;
  const U* shifts = offset + *pixel * 2 * all + own;
  const float px = x - padding + k % sizes.kernel + Read(shifts[0]);
  const float py = y - padding + k / sizes.kernel + Read(shifts[all]);
  Place place;
  place.inside = py >= -1.f && px >= -1.f && py < sizes.height && px < sizes.width;   // false for NaN
  const float fy = place.inside ? floorf_(py) : 0.f, fx = place.inside ? floorf_(px) : 0.f;
  place.top = static_cast<int>(fy);
  place.left = static_cast<int>(fx);
  place.down = py - fy;
  place.right = px - fx;
  return place;
}

// The share of the point that pixel i of the four around it has: top left, top right, bottom left, bottom right.
__device__ inline float Share(const Place& place, int i) {
  return (i / 2 ? place.down : 1.f - place.down) * (i % 2 ? place.right : 1.f - place.right);
}

// Returns the first value of a group at a pixel, or a null pointer outside the image.
template <typename T>
__device__ inline T* Corner(const Sizes& sizes, T* image, int row, int column, int group) {
  if (row < 0 || column < 0 || row >= sizes.height || column >= sizes.width) return nullptr;
  return image + (static_cast<int64_t>(row) * sizes.width + column) * sizes.channels
         + group * (sizes.channels / sizes.groups);
}

template <typename T, int V>
__device__ inline void Load(const T* from, int at, float* values) {
  if (from == nullptr) {
    for (int i = 0; i < V; ++i) values[i] = 0.f;
    return;
  }
  const Chunk<T, V> chunk = *reinterpret_cast<const Chunk<T, V>*>(from + at);
  for (int i = 0; i < V; ++i) values[i] = Read(chunk.values[i]);
}

// The first pixel of the image that has a pixel.
__device__ inline int64_t FirstPixel(const Sizes& sizes, int64_t pixel) {
  return Divide(Divide(pixel, sizes.width), sizes.height) * sizes.height * sizes.width;
}

template <typename T, typename U, int V>
__device__ void Sample(const Sizes& sizes, const T* x, const U* offset, const U* mask, T* columns) {
  const int run = sizes.channels / sizes.groups;
  const int lanes = sizes.lanes;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x / lanes;
  const int lane = static_cast<int>(first & (lanes - 1));
  for (int64_t point = first / lanes; point < sizes.points; point += step) {
    int64_t pixel;
    int group;
    const Place place = Find(sizes, point, offset, &pixel, &group);
    const float mask_here = Read(mask[point]);
    const T* frame = x + FirstPixel(sizes, pixel) * sizes.channels;
    const T* corners[4];
    float shares[4] = {0.f, 0.f, 0.f, 0.f};
    for (int i = 0; i < 4; ++i) {
      corners[i] = place.inside ? Corner(sizes, frame, place.top + i / 2, place.left + i % 2, group) : nullptr;
      if (place.inside)
        shares[i] = mask_here * Share(place, i);
    }
    T* to = columns + point * run;
    for (int c = lane * V; c < run; c += lanes * V) {
      float sums[V], values[V];
      for (int i = 0; i < V; ++i) sums[i] = 0.f;
      for (int corner = 0; corner < 4; ++corner) {
        if (corners[corner] == nullptr) continue;
        Load<T, V>(corners[corner], c, values);
        for (int i = 0; i < V; ++i) sums[i] += shares[corner] * values[i];
      }
      Chunk<T, V> result;
      for (int i = 0; i < V; ++i) Write(sums[i], &result.values[i]);
      *reinterpret_cast<Chunk<T, V>*>(to + c) = result;
    }
  }
}

// Adds share * gradient to the gradient of a pixel: floats in any order, or integers, multiples of 1 / unit, whose sum
// has no order.
template <int V>
__device__ inline void Add(float* to, const float* gradient, float share, float) {
  int i = 0;
#ifdef EDVR_VECTOR_SUMS   // one access to memory for 128 or 64 bits
  for (; i + 4 <= V; i += 4)
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" :: "l"(to + i), "f"(share * gradient[i]),
                 "f"(share * gradient[i + 1]), "f"(share * gradient[i + 2]), "f"(share * gradient[i + 3]) : "memory");
  for (; i + 2 <= V; i += 2)
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" :: "l"(to + i), "f"(share * gradient[i]),
                 "f"(share * gradient[i + 1]) : "memory");
#endif
  for (; i < V; ++i) atomicAdd(to + i, share * gradient[i]);
}
template <int V>
__device__ inline void Add(long long* to, const float* gradient, float share, float unit) {
  for (int i = 0; i < V; ++i)
    atomicAdd(reinterpret_cast<unsigned long long*>(to + i),
              static_cast<unsigned long long>(__float2ll_rn(share * gradient[i] * unit)));
}

// d_x is cleared before.
template <typename T, typename U, typename S, int V>
__device__ void SampleGrad(const Sizes& sizes, const T* x, const U* offset, const U* mask, const T* d_columns,
                           const float* unit, S* d_x, U* d_offset, U* d_mask) {
  const int run = sizes.channels / sizes.groups, all = sizes.groups * sizes.kernel * sizes.kernel;
  const int lanes = sizes.lanes;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x / lanes;
  const int lane = static_cast<int>(first & (lanes - 1));
  for (int64_t point = first / lanes; point < sizes.points; point += step) {
    int64_t pixel;
    int group;
    const Place place = Find(sizes, point, offset, &pixel, &group);
    const float mask_here = Read(mask[point]);
    const int64_t frame = FirstPixel(sizes, pixel) * sizes.channels;
    float dots[4] = {0.f, 0.f, 0.f, 0.f};   // of each corner's values and the gradient of the samples
    if (place.inside) {
      const T* corners[4];
      S* targets[4];
      float shares[4];
      for (int i = 0; i < 4; ++i) {
        corners[i] = Corner(sizes, x + frame, place.top + i / 2, place.left + i % 2, group);
        targets[i] = Corner(sizes, d_x + frame, place.top + i / 2, place.left + i % 2, group);
        shares[i] = mask_here * Share(place, i);
      }
      for (int c = lane * V; c < run; c += lanes * V) {
        float gradient[V], values[V];
        Load<T, V>(d_columns + point * run, c, gradient);
        for (int corner = 0; corner < 4; ++corner) {
          if (corners[corner] == nullptr) continue;
          Load<T, V>(corners[corner], c, values);
          for (int i = 0; i < V; ++i) dots[corner] += values[i] * gradient[i];
          Add<V>(targets[corner] + c, gradient, shares[corner], *unit);
        }
      }
    }
    for (int i = 0; i < 4; ++i) dots[i] = SumOfLanes(dots[i], lanes);
    if (lane != 0) continue;
    const float down = place.down, right = place.right;
    float dx = 0.f, dy = 0.f, dm = 0.f;
    if (place.inside) {
      dx = mask_here * ((1.f - down) * (dots[1] - dots[0]) + down * (dots[3] - dots[2]));
      dy = mask_here * ((1.f - right) * (dots[2] - dots[0]) + right * (dots[3] - dots[1]));
      for (int i = 0; i < 4; ++i) dm += Share(place, i) * dots[i];
    }
    U* shifts = d_offset + pixel * 2 * all + (point - pixel * all);
    Write(dx, shifts);
    Write(dy, shifts + all);
    Write(dm, d_mask + point);
  }
}

}  // namespace

// The kernels by name: sample_T_U_V, and sample_grad_T_U_S_V with sums S (f32, or i64 for a fixed order).
#define EDVR_SAMPLE(T, TN, U, UN, V)                                                                              \
  extern "C" __global__ void sample_##TN##_##UN##_##V(Sizes sizes, const T* x, const U* offset, const U* mask,    \
                                                      T* columns) {                                               \
    Sample<T, U, V>(sizes, x, offset, mask, columns);                                                             \
  }
#define EDVR_SAMPLE_GRAD(T, TN, U, UN, S, SN, V)                                                                  \
  extern "C" __global__ void sample_grad_##TN##_##UN##_##SN##_##V(                                                \
      Sizes sizes, const T* x, const U* offset, const U* mask, const T* d_columns, const float* unit, S* d_x,     \
      U* d_offset, U* d_mask) {                                                                                   \
    SampleGrad<T, U, S, V>(sizes, x, offset, mask, d_columns, unit, d_x, d_offset, d_mask);                       \
  }
#define EDVR_WIDTH(T, TN, U, UN, V)                        \
  EDVR_SAMPLE(T, TN, U, UN, V)                             \
  EDVR_SAMPLE_GRAD(T, TN, U, UN, float, f32, V)            \
  EDVR_SAMPLE_GRAD(T, TN, U, UN, long long, i64, V)
#define EDVR_TYPES(T, TN, U, UN)   \
  EDVR_WIDTH(T, TN, U, UN, 1)      \
  EDVR_WIDTH(T, TN, U, UN, 2)      \
  EDVR_WIDTH(T, TN, U, UN, 4)

EDVR_TYPES(float, f32, float, f32)
EDVR_TYPES(half, f16, half, f16)
EDVR_TYPES(half, f16, float, f32)
EDVR_WIDTH(half, f16, half, f16, 8)
EDVR_WIDTH(half, f16, float, f32, 8)
