/* Numbers as C writes them, whatever locale the program that uses the library has chosen. */
#ifndef TINYTL_CORE_C_LOCALE_H
#define TINYTL_CORE_C_LOCALE_H

#include <locale.h>

typedef struct tinytl_c_locale {
  locale_t own, before;
} tinytl_c_locale;

/* Of this thread, until tinytl_c_locale_end. */
static inline tinytl_c_locale tinytl_c_locale_begin(void) {
  tinytl_c_locale c = {.own = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0)};
  if (c.own) c.before = uselocale(c.own);
  return c;
}

static inline void tinytl_c_locale_end(const tinytl_c_locale *c) {
  if (!c->own) return;
  uselocale(c->before);
  freelocale(c->own);
}

#endif
