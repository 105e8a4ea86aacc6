/* The order of the pictures in an epoch, and those that cannot be read. */
#ifndef TINYTL_DATA_ORDER_H
#define TINYTL_DATA_ORDER_H

#include "core/status.h"
#include "tinytl/pictures.h"

/* Fills order [n] with 0 to n - 1, shuffled; depends on seed, epoch and n alone. */
void tinytl_order(uint64_t seed, uint64_t epoch, int n, int *order);
/* 0 to n - 1 as they come. */
void tinytl_order_by_number(int n, int *order);
/* Takes those of the order [*n] that could not be read (unreadable: by picture) out of it; *n are
 * left. Error: DATA, fewer than the n_done that were trained on before. */
tinytl_status tinytl_order_readable(const bool *unreadable, int n_done, int *order, int *n,
                                    tinytl_error *error);
int tinytl_count_readable(const bool *unreadable, int n);

#endif
