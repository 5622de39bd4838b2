// Stores that go past the caches, where the processor has them; plain stores elsewhere.

#ifndef EDVR_MODEL_NATIVE_STREAM_H_
#define EDVR_MODEL_NATIVE_STREAM_H_

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace edvr {

// Writes a vector to `to`, which is aligned to its size.
template <typename T, typename Vector>
inline void Stream(T* to, const Vector& value) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)value);
#elif defined(__AVX__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)value);
#else
  std::memcpy(to, &value, sizeof(value));
#endif
}

// To be called by a thread after its last such store, before others may read what it wrote.
inline void StreamsDone() {
#if defined(__AVX__)
  _mm_sfence();
#endif
}

}  // namespace edvr

#endif  // EDVR_MODEL_NATIVE_STREAM_H_
