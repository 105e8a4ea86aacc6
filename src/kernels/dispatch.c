/* Which kernels run: decided here, by what the CPU and the operating system support. */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tinytl/machine.h"

extern const tinytl_kernels tinytl_kernels_portable;
#if defined(__x86_64__)
extern const tinytl_kernels tinytl_kernels_avx2;
#ifdef TINYTL_AVX512
extern const tinytl_kernels tinytl_kernels_avx512;
#endif
#elif defined(__aarch64__)
extern const tinytl_kernels tinytl_kernels_neon;
#endif

int tinytl_kernels_all(const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS]) {
  int n = 0;
  sets[n++] = &tinytl_kernels_portable;
#if defined(__x86_64__)
  /* __builtin_cpu_supports asks the operating system too, whether it saves the registers. */
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2) sets[n++] = &tinytl_kernels_avx2;
#ifdef TINYTL_AVX512
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    sets[n++] = &tinytl_kernels_avx512;
#endif
#elif defined(__aarch64__)
  sets[n++] = &tinytl_kernels_neon;
#endif
  return n;
}

const tinytl_kernels *tinytl_kernels_get(void) {
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n = tinytl_kernels_all(sets);
  /* A name that is unknown, or of a set that this CPU lacks, is passed over: the best runs. */
  const char *wanted = getenv("TINYTL_KERNELS");
  for (int i = 0; wanted && i < n; i++)
    if (strcmp(sets[i]->name, wanted) == 0) return sets[i];
  return sets[n - 1];
}

const char *tinytl_kernels_name(void) {
  return tinytl_kernels_get()->name;
}
