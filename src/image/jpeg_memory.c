/* What the methods must do is said in libjpeg.txt, "Memory management", and in jmemmgr.c of
 * libjpeg-turbo. Pools are not told apart: everything lives until the picture is done. */
#include "image/jpeg_memory.h"

#include <jerror.h>
#include <string.h>

/* Sample rows are padded, because SIMD code works past their end (2 x 32 bytes in jmemmgr.c). */
#define ROW_ALIGN 64

/* A virtual array (of samples or of coefficients), whole in memory. */
typedef struct virtual_array {
  void **rows; /* [n_rows]; NULL until realized */
  size_t row_nbytes, n_rows;
  bool zeroed;
  struct virtual_array *next;
} virtual_array;

typedef struct manager {
  struct jpeg_memory_mgr methods; /* what libjpeg sees */
  struct jpeg_memory_mgr *own;    /* libjpeg's */
  tinytl_budget *budget;
  virtual_array *arrays;
} manager;

static manager *manager_of(j_common_ptr jpeg) {
  return (manager *)jpeg->mem;
}

static void *take(j_common_ptr jpeg, size_t nbytes) {
  void *piece = tinytl_budget_take(manager_of(jpeg)->budget, nbytes);
  if (!piece) ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
  return piece;
}

static void *alloc(j_common_ptr jpeg, int pool, size_t nbytes) {
  (void)pool;
  return take(jpeg, nbytes);
}

static void **take_rows(j_common_ptr jpeg, size_t row_nbytes, size_t n_rows, bool zeroed) {
  size_t nbytes;
  if (!tinytl_size_mul(row_nbytes, n_rows, &nbytes)) ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
  void **rows = take(jpeg, n_rows * sizeof *rows);
  unsigned char *bytes = take(jpeg, nbytes);
  if (zeroed) memset(bytes, 0, nbytes);
  for (size_t y = 0; y < n_rows; y++) rows[y] = bytes + y * row_nbytes;
  return rows;
}

static JSAMPARRAY alloc_samples(j_common_ptr jpeg, int pool, JDIMENSION n_samples,
                                JDIMENSION n_rows) {
  (void)pool;
  return (JSAMPARRAY)take_rows(jpeg, tinytl_round_up(n_samples, ROW_ALIGN), n_rows, false);
}

static JBLOCKARRAY alloc_blocks(j_common_ptr jpeg, int pool, JDIMENSION n_blocks,
                                JDIMENSION n_rows) {
  (void)pool;
  return (JBLOCKARRAY)take_rows(jpeg, n_blocks * sizeof(JBLOCK), n_rows, false);
}

static virtual_array *request(j_common_ptr jpeg, bool zeroed, size_t row_nbytes, size_t n_rows) {
  manager *self = manager_of(jpeg);
  virtual_array *array = take(jpeg, sizeof *array);
  *array = (virtual_array){
      .row_nbytes = row_nbytes, .n_rows = n_rows, .zeroed = zeroed, .next = self->arrays};
  self->arrays = array;
  return array;
}

static jvirt_sarray_ptr request_samples(j_common_ptr jpeg, int pool, boolean zeroed,
                                        JDIMENSION n_samples, JDIMENSION n_rows,
                                        JDIMENSION max_access) {
  (void)pool, (void)max_access;
  return (jvirt_sarray_ptr)request(jpeg, zeroed, tinytl_round_up(n_samples, ROW_ALIGN), n_rows);
}

static jvirt_barray_ptr request_blocks(j_common_ptr jpeg, int pool, boolean zeroed,
                                       JDIMENSION n_blocks, JDIMENSION n_rows,
                                       JDIMENSION max_access) {
  (void)pool, (void)max_access;
  return (jvirt_barray_ptr)request(jpeg, zeroed, n_blocks * sizeof(JBLOCK), n_rows);
}

static void realize(j_common_ptr jpeg) {
  for (virtual_array *array = manager_of(jpeg)->arrays; array; array = array->next)
    if (!array->rows)
      array->rows = take_rows(jpeg, array->row_nbytes, array->n_rows, array->zeroed);
}

static void **access_rows(j_common_ptr jpeg, const virtual_array *array, size_t first, size_t n) {
  if (!array->rows || first > array->n_rows || n > array->n_rows - first)
    ERREXIT(jpeg, JERR_BAD_VIRTUAL_ACCESS);
  return array->rows + first;
}

static JSAMPARRAY access_samples(j_common_ptr jpeg, jvirt_sarray_ptr array, JDIMENSION first,
                                 JDIMENSION n, boolean writable) {
  (void)writable;
  return (JSAMPARRAY)access_rows(jpeg, (const virtual_array *)array, first, n);
}

static JBLOCKARRAY access_blocks(j_common_ptr jpeg, jvirt_barray_ptr array, JDIMENSION first,
                                 JDIMENSION n, boolean writable) {
  (void)writable;
  return (JBLOCKARRAY)access_rows(jpeg, (const virtual_array *)array, first, n);
}

static void free_pool(j_common_ptr jpeg, int pool) {
  (void)jpeg, (void)pool;
}

static void self_destruct(j_common_ptr jpeg) {
  jpeg->mem = manager_of(jpeg)->own;
  jpeg->mem->self_destruct(jpeg);
}

void tinytl_jpeg_memory_install(j_decompress_ptr jpeg, tinytl_budget *budget) {
  manager *self = tinytl_budget_take(budget, sizeof *self);
  if (!self) {
    ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    return; /* it does not come here, but through a pointer */
  }
  *self = (manager){.methods = {.alloc_small = alloc,
                                .alloc_large = alloc,
                                .alloc_sarray = alloc_samples,
                                .alloc_barray = alloc_blocks,
                                .request_virt_sarray = request_samples,
                                .request_virt_barray = request_blocks,
                                .realize_virt_arrays = realize,
                                .access_virt_sarray = access_samples,
                                .access_virt_barray = access_blocks,
                                .free_pool = free_pool,
                                .self_destruct = self_destruct,
                                .max_alloc_chunk = jpeg->mem->max_alloc_chunk},
                    .own = jpeg->mem,
                    .budget = budget};
  jpeg->mem = &self->methods;
}

static uint64_t rows_cost(uint64_t row_nbytes, size_t n_rows) {
  return tinytl_budget_cost(n_rows * sizeof(void *)) + tinytl_budget_cost(row_nbytes * n_rows);
}

uint64_t tinytl_jpeg_samples_cost(size_t n_samples, size_t n_rows) {
  return rows_cost(tinytl_round_up(n_samples, ROW_ALIGN), n_rows);
}

uint64_t tinytl_jpeg_blocks_cost(size_t n_blocks, size_t n_rows) {
  return rows_cost(n_blocks * sizeof(JBLOCK), n_rows);
}
