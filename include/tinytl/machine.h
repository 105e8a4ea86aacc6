/* What the machine can do. */
#ifndef TINYTL_MACHINE_H
#define TINYTL_MACHINE_H

#ifdef __cplusplus
extern "C" {
#endif

/* The kernel set that this machine runs: "portable", "avx2", "avx512" or "neon". The environment
 * variable TINYTL_KERNELS chooses a lesser one. */
const char *tinytl_kernels_name(void);

/* Measures, for some 30 ms, the most floating-point operations a second that n_threads (1 to 64; 0:
 * one a core) threads do with this kernel set's vectors: multiply-adds on registers alone, two
 * operations each. Other work on the machine lowers it. 0: the threads could not be started. */
double tinytl_peak_flops(int n_threads);

#ifdef __cplusplus
}
#endif

#endif
