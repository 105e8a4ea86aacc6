/* Reading pickles, protocol 2, as far as torch.save needs them for plain values: what a pickle asks
 * to be called is not called but kept as a record of the request, and only functions and classes
 * of a given list may be named at all. Opcodes are those of Python's pickletools. */
#ifndef TINYTL_FORMAT_PICKLE_H
#define TINYTL_FORMAT_PICKLE_H

#include "core/status.h"

enum { TINYTL_PICKLE_MAX_VALUES = 1 << 20 };

typedef enum tinytl_pickle_kind {
  TINYTL_PICKLE_NONE,
  TINYTL_PICKLE_INTEGER, /* or a truth value */
  TINYTL_PICKLE_TEXT,    /* UTF-8 by the format, not checked */
  TINYTL_PICKLE_GLOBAL,  /* a function or class of the list */
  TINYTL_PICKLE_TUPLE,
  TINYTL_PICKLE_DICT,       /* or an OrderedDict, whose attributes are dropped */
  TINYTL_PICKLE_CALL,       /* two items: a GLOBAL, and a TUPLE of its arguments */
  TINYTL_PICKLE_PERSISTENT, /* one item: what the id is */
  TINYTL_PICKLE_LIST,       /* its content is dropped */
  TINYTL_PICKLE_OTHER       /* a float, or an integer of more than 64 bits */
} tinytl_pickle_kind;

typedef struct tinytl_pickle_value {
  tinytl_pickle_kind kind;
  int first, n;     /* items: links[first + i]; DICT: first and last cell, -1: none */
  int64_t integer;  /* INTEGER; of a GLOBAL its index in the list, -1: OrderedDict */
  const char *text; /* TEXT, not terminated; points into the pickle */
  size_t text_nbytes;
} tinytl_pickle_value;

/* A growing array of int. */
typedef struct tinytl_pickle_ints {
  int *at;
  size_t n;
  int room;
} tinytl_pickle_ints;

typedef struct tinytl_pickle {
  tinytl_pickle_value *values;
  size_t n_values;
  int room;
  tinytl_pickle_ints links; /* items; cells of dicts: key, value, next cell or -1 */
  int root;                 /* what the pickle holds */
} tinytl_pickle;

/* Reads bytes [nbytes], which are borrowed until the pickle is closed. allowed: "module name", ...,
 * NULL. `where` stands in messages. Values may contain themselves. Errors: TINYTL_ERROR_MODEL. */
tinytl_status tinytl_pickle_open(const void *bytes, size_t nbytes, const char *where,
                                 const char *const *allowed, tinytl_pickle *pickle,
                                 tinytl_error *error);
void tinytl_pickle_close(tinytl_pickle *pickle);

/* Item i of a TUPLE, CALL or PERSISTENT; NULL: there is none, or `value` is NULL or of another
 * kind. */
const tinytl_pickle_value *tinytl_pickle_item(const tinytl_pickle *pickle,
                                              const tinytl_pickle_value *value, int i);
/* Walks over a DICT: `cell` is -1 at first. False: no more. */
bool tinytl_pickle_next(const tinytl_pickle *pickle, const tinytl_pickle_value *dict, int *cell,
                        const tinytl_pickle_value **key, const tinytl_pickle_value **value);
/* The value of a text key of a DICT, the last one where it stands twice; NULL: none. */
const tinytl_pickle_value *tinytl_pickle_get(const tinytl_pickle *pickle,
                                             const tinytl_pickle_value *dict, const char *key);

#endif
