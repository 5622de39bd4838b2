// The matrix product, and scratch memory. Nothing here knows TensorFlow.
//
// Work is cut by shapes alone and sums are taken in a fixed order, so results do not depend on the number of threads.

#ifndef EDVR_MODEL_NATIVE_PRODUCT_H_
#define EDVR_MODEL_NATIVE_PRODUCT_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace edvr {

// The register block of the product: kRows x (2 vectors). Chosen so that the accumulators fill the register file.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRows = 12;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kRows = 6;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kRows = 12;   // 32 registers, and multiplication by a lane
#else
constexpr int kVectorBytes = 16, kRows = 6;
#endif
constexpr int64_t kTile = 96;          // output points worked on at a time; a multiple of kRows
constexpr int64_t kUnits = 32;         // pieces the gradients are cut in: enough for threads, few enough for memory
constexpr size_t kAlignment = 64;

template <typename T>
constexpr int64_t PanelWidth() { return 2 * kVectorBytes / sizeof(T); }

inline int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Scratch memory of one thread or one call; contents are not initialised.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t size) {
    void* memory = nullptr;
    if (posix_memalign(&memory, kAlignment, std::max<int64_t>(size, 1) * sizeof(T)) != 0) throw std::bad_alloc();
    data_.reset(static_cast<T*>(memory));
  }
  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free { void operator()(T* p) const { free(p); } };
  std::unique_ptr<T, Free> data_;
};

// Asks for `count` values to be in a cache soon; they need not exist. Inlined in any case, because compilers drop calls
// of functions that do nothing else.
template <typename T>
inline __attribute__((always_inline)) void Fetch(const T* from, int64_t count) {
  for (int64_t i = 0; i < count; i += kAlignment / sizeof(T)) __builtin_prefetch(from + i);
}

// The same for values that will be written.
template <typename T>
inline __attribute__((always_inline)) void FetchToWrite(const T* to, int64_t count) {
  for (int64_t i = 0; i < count; i += kAlignment / sizeof(T)) __builtin_prefetch(to + i, 1);
}

// c[ROWS, width] (+)= a[ROWS, depth] * panel[depth, PanelWidth]; a's element (i, p) is a[i * a_row + p * a_col].
template <typename T, int ROWS>
void MultiplyBlock(int64_t depth, const T* a, int64_t a_row, int64_t a_col, const T* panel, T* c, int64_t c_row,
                   int64_t width, bool accumulate) {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int64_t kHalf = kVectorBytes / sizeof(T), kWidth = 2 * kHalf;
  Vector sum[ROWS][2] = {};
  for (int64_t p = 0; p < depth; ++p) {
    Vector b0, b1;
    std::memcpy(&b0, panel + p * kWidth, sizeof(Vector));
    std::memcpy(&b1, panel + p * kWidth + kHalf, sizeof(Vector));
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const T value = a[i * a_row + p * a_col];
      sum[i][0] += value * b0;
      sum[i][1] += value * b1;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
    T* row = c + i * c_row;
    T line[kWidth];
    std::memcpy(line, sum[i], sizeof(line));
    if (width == kWidth && accumulate) {
      for (int64_t j = 0; j < kWidth; ++j) row[j] += line[j];
    } else if (accumulate) {
      for (int64_t j = 0; j < width; ++j) row[j] += line[j];
    } else if (width == kWidth) {   // straight from the registers
      std::memcpy(row, &sum[i][0], sizeof(Vector));
      std::memcpy(row + kHalf, &sum[i][1], sizeof(Vector));
    } else {
      std::memcpy(row, line, width * sizeof(T));
    }
  }
}

// Calls MultiplyBlock for `rows` <= ROWS rows: the compiler needs their number as a constant.
template <typename T, int ROWS>
struct MultiplyRows {
  template <typename... Args>
  static void Run(int64_t rows, Args... args) {
    if (rows == ROWS) {
      MultiplyBlock<T, ROWS>(args...);
    } else {
      MultiplyRows<T, ROWS - 1>::Run(rows, args...);
    }
  }
};
template <typename T>
struct MultiplyRows<T, 0> {
  template <typename... Args>
  static void Run(int64_t, Args...) {}
};

// c[rows, cols] (+)= a[rows, depth] * b[depth, cols], b packed by Pack.
template <typename T>
void Multiply(int64_t rows, int64_t cols, int64_t depth, const T* a, int64_t a_row, int64_t a_col, const T* packed,
              T* c, int64_t c_row, bool accumulate) {
  constexpr int64_t kWidth = PanelWidth<T>();
  for (int64_t i = 0; i < rows; i += kRows) {
    for (int64_t j = 0; j < cols; j += kWidth) {
      MultiplyRows<T, kRows>::Run(std::min<int64_t>(kRows, rows - i), depth, a + i * a_row, a_row, a_col,
                                  packed + j * depth, c + i * c_row + j, c_row, std::min(kWidth, cols - j), accumulate);
    }
  }
}

template <typename T>
int64_t PackedSize(int64_t depth, int64_t cols) {
  return depth * DivideUp(cols, PanelWidth<T>()) * PanelWidth<T>();
}

// Packs b[depth, cols] in panels of PanelWidth columns, padded with zeros: [panel][depth][PanelWidth].
// element(p, j) is its value in row p and column j.
template <typename T, typename Element>
void Pack(int64_t depth, int64_t cols, T* packed, Element element) {
  constexpr int64_t kWidth = PanelWidth<T>();
  for (int64_t start = 0; start < cols; start += kWidth) {
    const int64_t width = std::min(kWidth, cols - start);
    for (int64_t p = 0; p < depth; ++p, packed += kWidth) {
      for (int64_t j = 0; j < width; ++j) packed[j] = element(p, start + j);
      for (int64_t j = width; j < kWidth; ++j) packed[j] = T(0);
    }
  }
}

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_PRODUCT_H_
