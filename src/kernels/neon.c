/* 64-bit Arm: 8 x 8 sums in 16 of 32 registers. */
#if defined(__aarch64__)
#define VECTOR_W 4
#define MR 8
#define NV_MAX 2
#define KERNELS tinytl_kernels_neon
#define KERNELS_NAME "neon"
#define MULTIPLIES_BY_LANE
#include "kernels/kernels_impl.h"
#else
typedef int tinytl_no_neon; /* another machine: nothing here */
#endif
