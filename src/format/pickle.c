#include "format/pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"
#include "format/bytes.h"

enum { MAX_NBYTES = 16 << 20, MAX_NAME = 128, CELL = 3 };

typedef struct reader {
  const uint8_t *bytes;
  size_t nbytes, at, op; /* op: where the opcode at hand stands */
  const char *where;
  const char *const *allowed;
  tinytl_pickle *out;
  tinytl_pickle_ints stack, memo, marks; /* marks: heights of the stack */
} reader;

static tinytl_status fail(const reader *r, tinytl_error *error, const char *format, ...)
    TINYTL_PRINTF(3, 4);

static tinytl_status fail(const reader *r, tinytl_error *error, const char *format, ...) {
  char reason[320];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: byte %zu: %s", r->where, r->op, reason);
}
#ifdef __clang_analyzer__ /* as in core/status.h */
#define fail(...) (fail(__VA_ARGS__), TINYTL_ERROR_MODEL)
#endif

/* ---- Arrays ------------------------------------------------------------------------------- */

static tinytl_status append(tinytl_pickle_ints *ints, int value, tinytl_error *error) {
  TINYTL_TRY(tinytl_grow((void **)&ints->at, (int)ints->n, &ints->room, sizeof *ints->at, error));
  ints->at[ints->n++] = value;
  return TINYTL_OK;
}

static tinytl_status push(reader *r, tinytl_pickle_value value, tinytl_error *error) {
  tinytl_pickle *out = r->out;
  if (out->n_values == TINYTL_PICKLE_MAX_VALUES)
    return fail(r, error, "more than %d values", TINYTL_PICKLE_MAX_VALUES);
  TINYTL_TRY(tinytl_grow((void **)&out->values, (int)out->n_values, &out->room, sizeof *out->values,
                         error));
  out->values[out->n_values] = value;
  return append(&r->stack, (int)out->n_values++, error);
}

/* Values that can be popped: those above the last mark. */
static size_t n_poppable(const reader *r) {
  return r->stack.n - (r->marks.n ? (size_t)r->marks.at[r->marks.n - 1] : 0);
}

static tinytl_status need(const reader *r, size_t n, tinytl_error *error) {
  if (n_poppable(r) >= n) return TINYTL_OK;
  return fail(r, error, "its stack is empty: the file is damaged");
}

static tinytl_pickle_value *top(const reader *r, size_t below) {
  return &r->out->values[r->stack.at[r->stack.n - 1 - below]];
}

/* ---- Reading ------------------------------------------------------------------------------ */

static tinytl_status take(reader *r, size_t nbytes, const uint8_t **bytes, tinytl_error *error) {
  if (nbytes > r->nbytes - r->at) return fail(r, error, "the file is truncated or damaged");
  *bytes = r->bytes + r->at;
  r->at += nbytes;
  return TINYTL_OK;
}

static tinytl_status take_number(reader *r, size_t nbytes, uint64_t *value, tinytl_error *error) {
  const uint8_t *bytes = NULL;
  TINYTL_TRY(take(r, nbytes, &bytes, error));
  *value = tinytl_read_number(bytes, (int)nbytes);
  return TINYTL_OK;
}

static tinytl_status read_protocol(reader *r, size_t nbytes, tinytl_error *error) {
  uint64_t protocol = 0;
  TINYTL_TRY(take_number(r, nbytes, &protocol, error));
  if (protocol == 2) return TINYTL_OK;
  return fail(r, error, "expected pickle protocol 2, which torch.save uses, found %d",
              (int)protocol);
}

static tinytl_status push_plain(reader *r, size_t kind, tinytl_error *error) {
  return push(r, (tinytl_pickle_value){.kind = (tinytl_pickle_kind)kind, .first = -1, .n = -1},
              error);
}

static tinytl_status push_integer(reader *r, size_t integer, tinytl_error *error) {
  return push(r, (tinytl_pickle_value){.kind = TINYTL_PICKLE_INTEGER, .integer = (int64_t)integer},
              error);
}

static tinytl_status read_unsigned(reader *r, size_t nbytes, tinytl_error *error) {
  uint64_t value = 0;
  TINYTL_TRY(take_number(r, nbytes, &value, error));
  return push_integer(r, (size_t)value, error);
}

/* nbytes 0 to 8, two's complement */
static tinytl_status read_signed(reader *r, size_t nbytes, tinytl_error *error) {
  uint64_t value = 0;
  TINYTL_TRY(take_number(r, nbytes, &value, error));
  if (nbytes > 0 && nbytes < 8 && value >> (8 * nbytes - 1)) value -= (uint64_t)1 << (8 * nbytes);
  return push(r, (tinytl_pickle_value){.kind = TINYTL_PICKLE_INTEGER, .integer = (int64_t)value},
              error);
}

/* Passes over a float, or an integer that has no place here. */
static tinytl_status read_other(reader *r, size_t nbytes, tinytl_error *error) {
  const uint8_t *bytes = NULL;
  TINYTL_TRY(take(r, nbytes, &bytes, error));
  return push_plain(r, TINYTL_PICKLE_OTHER, error);
}

static tinytl_status read_long(reader *r, size_t length_nbytes, tinytl_error *error) {
  uint64_t nbytes = 0;
  TINYTL_TRY(take_number(r, length_nbytes, &nbytes, error));
  return (nbytes > 8 ? read_other : read_signed)(r, (size_t)nbytes, error);
}

static tinytl_status read_text(reader *r, size_t length_nbytes, tinytl_error *error) {
  uint64_t nbytes = 0;
  const uint8_t *bytes = NULL;
  TINYTL_TRY(take_number(r, length_nbytes, &nbytes, error));
  TINYTL_TRY(take(r, (size_t)nbytes, &bytes, error));
  return push(r,
              (tinytl_pickle_value){.kind = TINYTL_PICKLE_TEXT,
                                    .text = (const char *)bytes,
                                    .text_nbytes = (size_t)nbytes},
              error);
}

static tinytl_status read_line(reader *r, size_t size, char *text, tinytl_error *error) {
  const uint8_t *line = r->bytes + r->at, *end = memchr(line, '\n', r->nbytes - r->at);
  if (!end || (size_t)(end - line) >= size)
    return fail(r, error, "a function or class with a name of more than %zu bytes", size - 1);
  snprintf(text, size, "%.*s", (int)(end - line), (const char *)line);
  r->at += (size_t)(end - line) + 1;
  return TINYTL_OK;
}

/* Two lines: module and name. */
static tinytl_status read_global(reader *r, size_t size, tinytl_error *error) {
  char module[MAX_NAME], name[MAX_NAME], full[2 * MAX_NAME];
  TINYTL_TRY(read_line(r, size, module, error));
  TINYTL_TRY(read_line(r, size, name, error));
  snprintf(full, sizeof full, "%s %s", module, name);
  tinytl_pickle_value value = {.kind = TINYTL_PICKLE_GLOBAL, .integer = -1};
  if (strcmp(full, "collections OrderedDict") == 0) return push(r, value, error);
  for (int i = 0; r->allowed[i]; i++)
    if (strcmp(full, r->allowed[i]) == 0) {
      value.integer = i;
      return push(r, value, error);
    }
  return fail(r, error,
              "asks for %.80s.%.80s: refused, nothing of a checkpoint is executed; save the "
              "network's state_dict() alone",
              module, name);
}

/* ---- Containers --------------------------------------------------------------------------- */

/* Replaces the topmost n values by one that has them as its items. */
static tinytl_status gather(reader *r, tinytl_pickle_kind kind, size_t n, tinytl_error *error) {
  tinytl_pickle_ints *links = &r->out->links;
  const tinytl_pickle_value value = {.kind = kind, .first = (int)links->n, .n = (int)n};
  TINYTL_TRY(need(r, n, error));
  for (size_t i = 0; i < n; i++) TINYTL_TRY(append(links, r->stack.at[r->stack.n - n + i], error));
  r->stack.n -= n;
  return push(r, value, error);
}

static tinytl_status make_tuple(reader *r, size_t n, tinytl_error *error) {
  return gather(r, TINYTL_PICKLE_TUPLE, n, error);
}

static tinytl_status make_persistent(reader *r, size_t n, tinytl_error *error) {
  return gather(r, TINYTL_PICKLE_PERSISTENT, n, error);
}

static tinytl_status drop_items(reader *r, size_t n, tinytl_error *error) {
  TINYTL_TRY(need(r, n + 1, error));
  if (top(r, n)->kind != TINYTL_PICKLE_LIST) return fail(r, error, "appends to what is no list");
  r->stack.n -= n;
  return TINYTL_OK;
}

/* The topmost n values, key and value by turns, go into the dict below them. */
static tinytl_status set_items(reader *r, size_t n, tinytl_error *error) {
  tinytl_pickle_ints *links = &r->out->links;
  TINYTL_TRY(need(r, n + 1, error));
  tinytl_pickle_value *dict = top(r, n);
  if (dict->kind != TINYTL_PICKLE_DICT || n % 2)
    return fail(r, error, "sets items of what is no dict, or half an item");
  for (size_t i = 0; i < n; i += 2) {
    const int cell = (int)links->n, *pair = r->stack.at + r->stack.n - n + i;
    TINYTL_TRY(append(links, pair[0], error));
    TINYTL_TRY(append(links, pair[1], error));
    TINYTL_TRY(append(links, -1, error));
    if (dict->first < 0)
      dict->first = cell;
    else
      links->at[dict->n + CELL - 1] = cell;
    dict->n = cell;
  }
  r->stack.n -= n;
  return TINYTL_OK;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static tinytl_status read_call(reader *r, size_t n, tinytl_error *error) {
  TINYTL_TRY(need(r, n, error));
  const tinytl_pickle_value *function = top(r, 1), *arguments = top(r, 0);
  if (function->kind != TINYTL_PICKLE_GLOBAL || arguments->kind != TINYTL_PICKLE_TUPLE)
    return fail(r, error, "calls what is no function");
  if (function->integer >= 0) return gather(r, TINYTL_PICKLE_CALL, n, error);
  if (arguments->n != 0) return fail(r, error, "an OrderedDict made of arguments");
  r->stack.n -= n;
  return push_plain(r, TINYTL_PICKLE_DICT, error);
}

/* Attributes of an OrderedDict: torch.save writes version numbers. */
static tinytl_status drop_attributes(reader *r, size_t n, tinytl_error *error) {
  TINYTL_TRY(need(r, n, error));
  if (top(r, 1)->kind != TINYTL_PICKLE_DICT)
    return fail(r, error, "sets attributes of what is no dict");
  r->stack.n--;
  return TINYTL_OK;
}

/* ---- Memo --------------------------------------------------------------------------------- */

/* Entries are numbered from 0 as they come. */
static tinytl_status put(reader *r, size_t nbytes, tinytl_error *error) {
  uint64_t index = 0;
  TINYTL_TRY(take_number(r, nbytes, &index, error));
  TINYTL_TRY(need(r, 1, error));
  if (index > r->memo.n || index >= TINYTL_PICKLE_MAX_VALUES)
    return fail(r, error, "memo entry %llu after %zu entries", (unsigned long long)index,
                r->memo.n);
  const int value = r->stack.at[r->stack.n - 1];
  if (index == r->memo.n) return append(&r->memo, value, error);
  r->memo.at[index] = value;
  return TINYTL_OK;
}

static tinytl_status get(reader *r, size_t nbytes, tinytl_error *error) {
  uint64_t index = 0;
  TINYTL_TRY(take_number(r, nbytes, &index, error));
  if (index >= r->memo.n)
    return fail(r, error, "memo entry %llu of %zu", (unsigned long long)index, r->memo.n);
  return append(&r->stack, r->memo.at[index], error);
}

/* ---- The machine -------------------------------------------------------------------------- */

/* Marks are heights of the stack. */
static tinytl_status push_mark(reader *r, size_t above, tinytl_error *error) {
  return append(&r->marks, (int)(r->stack.n + above), error);
}

#define MARKED SIZE_MAX /* as many values as lie above the last mark, which is removed */

/* n: values that are taken from the stack, bytes that a number or a length takes, or what the
 * function says. */
static const struct opcode {
  uint8_t code;
  tinytl_status (*run)(reader *, size_t n, tinytl_error *);
  size_t n;
} opcodes[] = {
    {0x80, read_protocol, 1},
    {'(', push_mark, 0},
    {'N', push_plain, TINYTL_PICKLE_NONE},
    {']', push_plain, TINYTL_PICKLE_LIST},
    {'}', push_plain, TINYTL_PICKLE_DICT},
    {0x88, push_integer, true},
    {0x89, push_integer, false},
    {'K', read_unsigned, 1},
    {'M', read_unsigned, 2},
    {'J', read_signed, 4},
    {0x8a, read_long, 1},
    {'G', read_other, 8},
    {'X', read_text, 4},
    {'c', read_global, MAX_NAME},
    {')', make_tuple, 0},
    {0x85, make_tuple, 1},
    {0x86, make_tuple, 2},
    {0x87, make_tuple, 3},
    {'t', make_tuple, MARKED},
    {'a', drop_items, 1},
    {'e', drop_items, MARKED},
    {'s', set_items, 2},
    {'u', set_items, MARKED},
    {'Q', make_persistent, 1},
    {'R', read_call, 2},
    {'b', drop_attributes, 2},
    {'q', put, 1},
    {'r', put, 4},
    {'h', get, 1},
    {'j', get, 4},
};

static tinytl_status run_op(reader *r, uint8_t code, tinytl_error *error) {
  const struct opcode *op = opcodes, *end = opcodes + sizeof opcodes / sizeof *opcodes;
  while (op < end && op->code != code) op++;
  if (op == end)
    return fail(r, error, "opcode 0x%02x is not one that torch.save writes for plain values", code);
  size_t n = op->n;
  if (n == MARKED) {
    if (r->marks.n == 0) return fail(r, error, "a mark is missing: the file is damaged");
    n = n_poppable(r);
    r->marks.n--;
  }
  return op->run(r, n, error);
}

/* An opcode takes a byte at least and leaves at most one value, one mark or, for two values taken,
 * three links: nothing grows beyond a small multiple of the pickle, and no count beyond an int. */
static tinytl_status run(reader *r, tinytl_error *error) {
  if (r->nbytes > MAX_NBYTES)
    return fail(r, error, "%zu bytes, at most %d are supported", r->nbytes, MAX_NBYTES);
  for (;;) {
    const uint8_t *op = NULL;
    r->op = r->at;
    TINYTL_TRY(take(r, 1, &op, error));
    if (*op == '.') break;
    TINYTL_TRY(run_op(r, *op, error));
  }
  if (r->stack.n != 1 || r->marks.n != 0)
    return fail(r, error, "ends with %zu values instead of one", r->stack.n);
  r->out->root = r->stack.at[0];
  return TINYTL_OK;
}

tinytl_status tinytl_pickle_open(const void *bytes, size_t nbytes, const char *where,
                                 const char *const *allowed, tinytl_pickle *pickle,
                                 tinytl_error *error) {
  tinytl_pickle opened = {0};
  reader r = {.bytes = bytes, .nbytes = nbytes, .where = where, .allowed = allowed, .out = &opened};
  const tinytl_status status = run(&r, error);
  free(r.stack.at);
  free(r.memo.at);
  free(r.marks.at);
  if (status != TINYTL_OK)
    tinytl_pickle_close(&opened);
  else
    *pickle = opened;
  return status;
}

void tinytl_pickle_close(tinytl_pickle *pickle) {
  free(pickle->values);
  free(pickle->links.at);
  *pickle = (tinytl_pickle){0};
}

/* ---- Access ------------------------------------------------------------------------------- */

const tinytl_pickle_value *tinytl_pickle_item(const tinytl_pickle *pickle,
                                              const tinytl_pickle_value *value, int i) {
  if (!value || (value->kind != TINYTL_PICKLE_TUPLE && value->kind != TINYTL_PICKLE_CALL &&
                 value->kind != TINYTL_PICKLE_PERSISTENT))
    return NULL;
  return i < value->n ? &pickle->values[pickle->links.at[value->first + i]] : NULL;
}

bool tinytl_pickle_next(const tinytl_pickle *pickle, const tinytl_pickle_value *dict, int *cell,
                        const tinytl_pickle_value **key, const tinytl_pickle_value **value) {
  const int *links = pickle->links.at;
  const int next = *cell < 0 ? dict->first : links[*cell + CELL - 1];
  if (dict->kind != TINYTL_PICKLE_DICT || next < 0) return false;
  *key = &pickle->values[links[next]];
  *value = &pickle->values[links[next + 1]];
  *cell = next;
  return true;
}

const tinytl_pickle_value *tinytl_pickle_get(const tinytl_pickle *pickle,
                                             const tinytl_pickle_value *dict, const char *key) {
  const tinytl_pickle_value *found = NULL, *name = NULL, *value = NULL;
  for (int cell = -1; tinytl_pickle_next(pickle, dict, &cell, &name, &value);)
    if (name->kind == TINYTL_PICKLE_TEXT && name->text_nbytes == strlen(key) &&
        memcmp(name->text, key, name->text_nbytes) == 0)
      found = value;
  return found;
}
