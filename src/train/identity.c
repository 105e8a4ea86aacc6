#include "train/identity.h"

#include <sha2.h>
#include <stdio.h>
#include <string.h>

#include "format/json_text.h"

static void hash_text(SHA2_CTX *sha256, const char *text) {
  SHA256Update(sha256, (const uint8_t *)text, strlen(text) + 1);
}

static void hash_number(SHA2_CTX *sha256, int number) {
  char text[16];
  snprintf(text, sizeof text, "%d", number);
  hash_text(sha256, text);
}

/* Names without folders, so that the pictures may move; their classes are in the labels. */
static void hash_images(SHA2_CTX *sha256, const tinytl_images *images) {
  hash_number(sha256, images->n_images);
  for (int i = 0; i < images->n_images; i++) {
    const char *name = images->name ? images->name(images->context, i) : "";
    const char *slash = strrchr(name, '/');
    hash_text(sha256, slash ? slash + 1 : name);
    hash_number(sha256, images->labels[i]);
  }
}

char *tinytl_images_identity(const tinytl_images *train, const tinytl_images *val) {
  SHA2_CTX sha256;
  char hash[65];
  SHA256Init(&sha256);
  for (int c = 0; c < train->n_classes; c++) hash_text(&sha256, train->class_names[c]);
  hash_images(&sha256, train);
  if (val) hash_images(&sha256, val);
  SHA256End(&sha256, hash);
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "classes", train->n_classes);
  tinytl_json_put_int(&json, "train_images", train->n_images);
  tinytl_json_put_int(&json, "val_images", val ? val->n_images : 0);
  tinytl_json_put_string(&json, "names_sha256", hash);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}
