/* cmocka.h needs these before it. */
#ifndef TINYTL_TEST_CMOCKA_H
#define TINYTL_TEST_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
