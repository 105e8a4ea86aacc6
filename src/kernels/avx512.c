/* AVX-512: 12 x 32 sums in 24 of 32 registers. */
#if defined(__AVX512F__) && defined(__AVX512BW__)
#define VECTOR_W 16
#define MR 12
#define NV_MAX 2
#define KERNELS tinytl_kernels_avx512
#define KERNELS_NAME "avx512"
#include "kernels/kernels_impl.h"
#else
typedef int tinytl_no_avx512; /* another machine: nothing here */
#endif
