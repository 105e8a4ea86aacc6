/* Telling UTF-8 from other bytes: names of files may be anything. */
#ifndef CLI_UTF8_H
#define CLI_UTF8_H

/* Length (1 to 4) of the well-formed UTF-8 sequence at `at` (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF); 0: not UTF-8. `at` ends in a zero byte. */
static inline int cli_utf8_length(const unsigned char *at) {
  unsigned char lead = at[0];
  if (lead < 0x80) return 1;
  int n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  for (int i = 1; i < n; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && at[1] < 0xa0) return 0;
  if (lead == 0xed && at[1] > 0x9f) return 0;
  if (lead == 0xf0 && at[1] < 0x90) return 0;
  if (lead == 0xf4 && at[1] > 0x8f) return 0;
  return n;
}

#endif
