/* AVX2 and FMA: 6 x 16 sums in 12 of 16 registers. */
#if defined(__AVX2__) && defined(__FMA__)
#define VECTOR_W 8
#define MR 6
#define NV_MAX 2
#define KERNELS tinytl_kernels_avx2
#define KERNELS_NAME "avx2"
#include "kernels/kernels_impl.h"
#else
typedef int tinytl_no_avx2; /* another machine: nothing here */
#endif
