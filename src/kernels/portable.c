/* Any machine: SSE2 on x86-64, what the compiler makes of it elsewhere. */
#define VECTOR_W 4
#define MR 4
#define NV_MAX 2
#define KERNELS tinytl_kernels_portable
#define KERNELS_NAME "portable"
#include "kernels/kernels_impl.h"
