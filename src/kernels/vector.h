/* A float vector of VECTOR_W lanes on the compiler's vector extensions, for kernels_impl.h.
 * The few things that the extensions are clumsy at use intrinsics, here and nowhere else. */
#ifndef TINYTL_KERNELS_VECTOR_H
#define TINYTL_KERNELS_VECTOR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define W VECTOR_W
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#if defined(SANITIZED) && SANITIZED
#define UNROLL /* checks in unrolled loops compile for minutes */
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
/* p, of which the compiler no longer knows what it was made from. */
ALWAYS_INLINE void *opaque(const void *p) {
  __asm__("" : "+r"(p));
  return (void *)(uintptr_t)p;
}

typedef float vf __attribute__((vector_size(4 * W)));

/* v in a register, of which the compiler no longer knows where it was loaded from: several
 * multiply-adds of it would each load it again, as their operand in memory. */
ALWAYS_INLINE vf held(vf v) {
#if defined(__SSE2__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
  return v;
}

typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef uint8_t vu8 __attribute__((vector_size(W)));
typedef int8_t vb __attribute__((vector_size(W)));
typedef float vf_unaligned __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t vi_unaligned __attribute__((vector_size(4 * W), aligned(1), may_alias));
typedef int8_t vb_unaligned __attribute__((vector_size(W), aligned(1), may_alias));

#if VECTOR_W == 16
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LANE_BITS \
  { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768 }
#define LOG2_W 4
#elif VECTOR_W == 8
#define ZIP_LOW 0, 8, 1, 9, 4, 12, 5, 13 /* within 128 bits */
#define ZIP_HIGH 2, 10, 3, 11, 6, 14, 7, 15
#define LANE_BITS \
  { 1, 2, 4, 8, 16, 32, 64, 128 }
#else
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#define LANE_BITS \
  { 1, 2, 4, 8 }
#define LOG2_W 2
#endif

ALWAYS_INLINE vf load(const float *p) {
  return *(const vf_unaligned *)p;
}
ALWAYS_INLINE void store(float *p, vf v) {
  *(vf_unaligned *)p = v;
}
ALWAYS_INLINE vf splat(float x) {
  return x - (vf){0};
} /* x - 0 keeps the sign of -0 */

/* Half a vector, where one takes half of the time. */
#if VECTOR_W == 16
#define HALVES 1
typedef float vh __attribute__((vector_size(2 * W)));
typedef float vh_unaligned __attribute__((vector_size(2 * W), aligned(4), may_alias));
ALWAYS_INLINE vh low_half(vf v) {
  return (vh)_mm512_castps512_ps256((__m512)v);
}
/* Zeros in the other half. */
ALWAYS_INLINE vf from_half(vh v) {
  return (vf)_mm512_zextps256_ps512((__m256)v);
}
#else
#define HALVES 0
typedef vf vh;
typedef vf_unaligned vh_unaligned;
ALWAYS_INLINE vh low_half(vf v) {
  return v;
}
ALWAYS_INLINE vf from_half(vh v) {
  return v;
}
#endif
ALWAYS_INLINE vh load_half(const float *p) {
  return *(const vh_unaligned *)p;
}

#if VECTOR_W == 8
/* All ones in the first n lanes. */
ALWAYS_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

/* The first n lanes (0 <= n <= W), zeros in the others. */
ALWAYS_INLINE vf load_n(const float *p, int n) {
#if VECTOR_W == 16
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif VECTOR_W == 8
  return (vf)_mm256_maskload_ps(p, first_lanes(n));
#else
  vf v = {0};
  memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
#endif
}

ALWAYS_INLINE void store_n(float *p, vf v, int n) {
#if VECTOR_W == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif VECTOR_W == 8
  _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
#else
  memcpy(p, &v, (size_t)n * sizeof *p);
#endif
}

/* The same, with whole vectors as such. */
ALWAYS_INLINE vf load_lanes(const float *p, int lanes) {
  return lanes == W ? load(p) : load_n(p, lanes);
}
ALWAYS_INLINE void store_lanes(float *p, vf v, int lanes) {
  if (lanes == W)
    store(p, v);
  else
    store_n(p, v, lanes);
}

/* n <= 4 * W bytes, zeros after them. */
ALWAYS_INLINE vi load_bytes(const int8_t *p, int n) {
  if (n == 4 * W) return *(const vi_unaligned *)p;
#if VECTOR_W == 16
  return (vi)_mm512_maskz_loadu_epi8(((__mmask64)1 << n) - 1, p);
#else
  vi v = {0};
  memcpy(&v, p, (size_t)n);
  return v;
#endif
}

/* W values of int8, widened. */
ALWAYS_INLINE vf load_i8(const int8_t *p) {
#if VECTOR_W == 16
  return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif VECTOR_W == 8
  return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
  return __builtin_convertvector(*(const vb_unaligned *)p, vf);
#endif
}

/* n <= W values of uint8, widened; zeros after them. */
ALWAYS_INLINE vi load_u8(const uint8_t *p, int n) {
  uint8_t part[W] = {0};
  if (n < W) p = memcpy(part, p, (size_t)n);
#if VECTOR_W == 16
  return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif VECTOR_W == 8
  return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#elif defined(__SSE2__)
  int32_t four;
  memcpy(&four, p, sizeof four);
  const __m128i zero = _mm_setzero_si128();
  return (vi)_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero), zero);
#else
  vu8 bytes;
  memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, vi);
#endif
}

/* The low bytes of n <= W lanes. */
ALWAYS_INLINE void store_u8(uint8_t *p, vi v, int n) {
#if VECTOR_W == 16
  const vu8 bytes = (vu8)_mm512_cvtepi32_epi8((__m512i)v);
#elif VECTOR_W == 8
  const __m256i low = _mm256_and_si256((__m256i)v, _mm256_set1_epi32(255));
  const __m128i pairs =
      _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  const int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs));
#elif defined(__SSE2__)
  const __m128i pairs = _mm_packs_epi32((__m128i)(v & 255), (__m128i)(v & 255));
  const int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(pairs, pairs));
#else
  const vu8 bytes = __builtin_convertvector(v, vu8);
#endif
  if (n == W)
    memcpy(p, &bytes, W);
  else
    memcpy(p, &bytes, (size_t)n);
}

/* Lane i as bit i: whether low < v < high. */
ALWAYS_INLINE unsigned bits_between(vf low, vf v, vf high) {
#if VECTOR_W == 16
  const __mmask16 above = _mm512_cmp_ps_mask((__m512)low, (__m512)v, _CMP_LT_OQ);
  return _mm512_mask_cmp_ps_mask(above, (__m512)v, (__m512)high, _CMP_LT_OQ);
#else
  const vi between = (low < v) & (v < high);
#if VECTOR_W == 8
  return (unsigned)_mm256_movemask_ps((__m256)between);
#elif defined(__SSE2__)
  return (unsigned)_mm_movemask_ps((__m128)between);
#else
  const vi bits = between & (vi)LANE_BITS;
  return (unsigned)(bits[0] | bits[1] | bits[2] | bits[3]);
#endif
#endif
}

/* The reverse: keeps the lanes of v whose bit is set, zeros the others. */
ALWAYS_INLINE vf keep_lanes(vf v, unsigned bits) {
#if VECTOR_W == 16
  return (vf)_mm512_maskz_mov_ps((__mmask16)bits, (__m512)v);
#else
  const vi lanes = LANE_BITS;
  vi selected = ((int32_t)bits + (vi){0}) & lanes;
  return (vf)((vi)v & (selected == lanes));
#endif
}

/* v between low and high; NaN stays NaN. */
ALWAYS_INLINE vf clamp(vf v, vf low, vf high) {
  /* The x86 instructions return their second operand where one is NaN. */
#if VECTOR_W == 16
  return (vf)_mm512_min_ps((__m512)high, _mm512_max_ps((__m512)low, (__m512)v));
#elif VECTOR_W == 8
  return (vf)_mm256_min_ps((__m256)high, _mm256_max_ps((__m256)low, (__m256)v));
#elif defined(__SSE2__)
  return (vf)_mm_min_ps((__m128)high, _mm_max_ps((__m128)low, (__m128)v));
#elif defined(__aarch64__)
  return (vf)vminq_f32((float32x4_t)high, vmaxq_f32((float32x4_t)low, (float32x4_t)v));
#else
  vi below = v < low;
  v = (vf)(((vi)low & below) | ((vi)v & ~below));
  vi above = v > high;
  return (vf)(((vi)high & above) | ((vi)v & ~above));
#endif
}

/* Lane by lane; where one is NaN, either. */
ALWAYS_INLINE vf larger(vf x, vf y) {
#if VECTOR_W == 16
  return (vf)_mm512_max_ps((__m512)x, (__m512)y);
#elif VECTOR_W == 8
  return (vf)_mm256_max_ps((__m256)x, (__m256)y);
#elif defined(__SSE2__)
  return (vf)_mm_max_ps((__m128)x, (__m128)y);
#else
  const vi first = x > y;
  return (vf)(((vi)x & first) | ((vi)y & ~first));
#endif
}

/* Lane i of the result is lane index[i], 0 to W - 1, of v. */
ALWAYS_INLINE vf permute(vf v, vi index) {
#if VECTOR_W == 16
  return (vf)_mm512_permutexvar_ps((__m512i)index, (__m512)v);
#elif VECTOR_W == 8
  return (vf)_mm256_permutevar8x32_ps((__m256)v, (__m256i)index);
#elif defined(__aarch64__)
  const vi bytes = index * 0x04040404 + 0x03020100; /* of each lane, little-endian */
  return (vf)vqtbl1q_u8((uint8x16_t)v, (uint8x16_t)bytes);
#else
  vf result;
  for (int i = 0; i < W; i++) result[i] = v[index[i]];
  return result;
#endif
}

ALWAYS_INLINE vf square_root(vf v) {
#if VECTOR_W == 16
  return (vf)_mm512_sqrt_ps((__m512)v);
#elif VECTOR_W == 8
  return (vf)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__)
  return (vf)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
  return (vf)vsqrtq_f32((float32x4_t)v);
#else
  for (int i = 0; i < W; i++) v[i] = sqrtf(v[i]);
  return v;
#endif
}

/* W x W, in place: log2 W perfect shuffles of the rows. */
ALWAYS_INLINE void transpose(vi rows[W]) {
#if VECTOR_W == 8
  /* Lanes of 128 bits are crossed once: rows i and i + 4 become their lower and upper halves. */
  UNROLL for (int i = 0; i < 4; i++) {
    const vi low = __builtin_shufflevector(rows[i], rows[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(rows[i], rows[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    rows[i] = low;
  }
  enum { ROWS = 4, STAGES = 2 };
#else
  enum { ROWS = W, STAGES = LOG2_W };
#endif
  UNROLL for (int stage = 0; stage < STAGES; stage++) {
    UNROLL for (int first = 0; first < W; first += ROWS) {
      vi zipped[ROWS], *part = rows + first;
      UNROLL for (int i = 0; i < ROWS / 2; i++) {
        zipped[2 * i] = __builtin_shufflevector(part[i], part[i + ROWS / 2], ZIP_LOW);
        zipped[2 * i + 1] = __builtin_shufflevector(part[i], part[i + ROWS / 2], ZIP_HIGH);
      }
      UNROLL for (int i = 0; i < ROWS; i++) part[i] = zipped[i];
    }
  }
}

#endif
