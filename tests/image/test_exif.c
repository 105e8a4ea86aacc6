#include "image/image.h"
#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

/* Two entries, the second the orientation. */
static const uint8_t little[] = {'E',  'x',  'i', 'f', 0, 0,                   /* signature */
                                 'I',  'I',  42,  0,   8, 0, 0, 0,             /* TIFF header */
                                 2,    0,                                      /* entries */
                                 0x00, 0x01, 3,   0,   1, 0, 0, 0, 5, 0, 0, 0, /* width */
                                 0x12, 0x01, 3,   0,   1, 0, 0, 0, 6, 0, 0, 0, /* orientation */
                                 0,    0,    0,   0};
static const uint8_t big[] = {'E', 'x',  'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1,
                              1,   0x12, 0,   3,   0, 0, 0,   1,   0, 8,  0, 0, 0, 0, 0, 0};

static void reads_both_byte_orders(void **state) {
  (void)state;
  assert_int_equal(tinytl_exif_orientation(little, sizeof little), 6);
  assert_int_equal(tinytl_exif_orientation(big, sizeof big), 8);
}

/* Every length, on the heap so that a sanitizer sees a read past the end. */
static void reads_inside_its_bounds(void **state) {
  (void)state;
  for (size_t n = 1; n < sizeof little; n++) {
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, little, n);
    int orientation = tinytl_exif_orientation(bytes, n);
    assert_int_equal(orientation, n < 38 ? 0 : 6); /* the value ends at byte 38 */
    free(bytes);
  }
}

static int with_byte(size_t at, uint8_t value) {
  uint8_t bytes[sizeof little];
  memcpy(bytes, little, sizeof bytes);
  bytes[at] = value;
  return tinytl_exif_orientation(bytes, sizeof bytes);
}

/* Was passed over, so that the picture lay on its side; Pillow obeys it. */
static void reads_a_long_too(void **state) {
  (void)state;
  assert_int_equal(with_byte(30, 4), 6);
  uint8_t bytes[sizeof big];
  memcpy(bytes, big, sizeof bytes);
  memcpy(bytes + 19, (uint8_t[]){4, 0, 0, 0, 1, 0, 0, 0, 3}, 9);
  assert_int_equal(tinytl_exif_orientation(bytes, sizeof bytes), 3);
  bytes[25] = 1; /* more than 16 bits */
  assert_int_equal(tinytl_exif_orientation(bytes, sizeof bytes), 0);
}

static void refuses_what_it_does_not_know(void **state) {
  (void)state;
  assert_int_equal(with_byte(0, 'e'), 0);   /* signature */
  assert_int_equal(with_byte(7, 'M'), 0);   /* byte order */
  assert_int_equal(with_byte(8, 43), 0);    /* TIFF's number */
  assert_int_equal(with_byte(13, 0xff), 0); /* a directory far outside */
  assert_int_equal(with_byte(10, 37), 0);   /* a directory at the very end */
  assert_int_equal(with_byte(30, 2), 0);    /* type */
  assert_int_equal(with_byte(36, 0), 0);    /* values 1 to 8 */
  assert_int_equal(with_byte(36, 9), 0);
  assert_int_equal(with_byte(15, 0xff), 6); /* too many entries: found before the end */
  assert_int_equal(with_byte(28, 0x13), 0); /* another tag */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_both_byte_orders),
      cmocka_unit_test(reads_inside_its_bounds),
      cmocka_unit_test(reads_a_long_too),
      cmocka_unit_test(refuses_what_it_does_not_know),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
