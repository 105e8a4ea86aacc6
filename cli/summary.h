/* What a backbone or adapter holds, for people and as JSON; shared by import, init and info. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include "tinytl.h"

/* Writes the backbone to `path`, which must not be `input` (NULL: any). */
tinytl_status cli_backbone_save(const tinytl_backbone *backbone, const char *path,
                                const char *input, tinytl_error *error);

void cli_backbone_print(const tinytl_backbone *backbone, const char *path, bool json);
void cli_adapter_print(const tinytl_adapter *adapter, const char *path, bool json);

#endif
