/* What a file holds and what a plan chose, for people and as JSON; shared by several
 * commands. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include <stdio.h>

#include "json.h"
#include "tinytl.h"

/* Writes the backbone to `path`, which must not be `input` (NULL: any). */
tinytl_status cli_backbone_save(const tinytl_backbone *backbone, const char *path,
                                const char *input, tinytl_error *error);

void cli_backbone_print(const tinytl_backbone *backbone, const char *path, bool json);
void cli_supernet_print(const tinytl_supernet *supernet, const char *path, bool json);
void cli_adapter_print(const tinytl_adapter *adapter, const char *path, bool json);
void cli_checkpoint_print(const tinytl_checkpoint_info *info, const char *path, bool json);

/* {"event":"epoch",...} of an epoch that is finished; method NULL: left out. */
void cli_epoch_json(const tinytl_epoch *epoch, const char *method);

/* "adam8, 1 lane, lite modules recomputed": the optimizer, and what a memory limit asked for. Fills
 * and returns text. */
enum { CLI_CHOICES_NBYTES = 128 };
const char *cli_choices_text(const tinytl_plan *plan, char text[CLI_CHOICES_NBYTES]);
void cli_choices_json(cli_json *json, const tinytl_plan *plan);

/* The end of a run: what was planned of memory and what was taken (of: what the plan is of, ""
 * where it is of the run as a whole), and the file that was written. */
void cli_memory_print(const char *of, size_t planned_nbytes, size_t base_nbytes);
void cli_memory_json(cli_json *json, size_t planned_nbytes, size_t base_nbytes);
void cli_written_print(const char *what, const char *path);

#endif
