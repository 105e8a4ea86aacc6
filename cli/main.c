/* tinytl COMMAND [options] */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#ifdef __GLIBC__ /* any of the above says so */
#include <malloc.h>
#endif

#include "command.h"
#include "options.h"
#include "terminal.h"

static const struct command {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *summary;
} commands[] = {
    {"train", cli_train, "adapt a backbone to pictures in class folders"},
    {"plan", cli_plan, "say how much memory training would take"},
    {"eval", cli_eval, "measure accuracy on pictures that were not trained on"},
    {"predict", cli_predict, "classify pictures"},
    {"info", cli_info, "say what a backbone, adapter, super-net or checkpoint holds"},
    {"import", cli_import, "turn a TFLite, safetensors or PyTorch model into a backbone"},
    {"init", cli_init, "make a randomly initialised backbone"},
    {"pretrain", cli_pretrain, "train a backbone or super-net from nothing"},
    {"search", cli_search, "choose a super-net's sub-net for your pictures"},
    {"bench", cli_bench, "measure the speed and memory of training and inference"},
    {NULL, NULL, NULL}};

static const struct command *find_command(const char *name) {
  for (const struct command *command = commands; command->name; command++) {
    if (strcmp(command->name, name) == 0) return command;
  }
  return NULL;
}

static void print_help(FILE *file) {
  fputs("tinytl adapts a pre-trained image classifier to your pictures in small memory.\n\n"
        "Examples:\n"
        "  tinytl train -d pictures -o mine.safetensors      pictures/train/CLASS/*.jpg\n"
        "  tinytl eval -a mine.safetensors -d pictures       pictures/test/CLASS/*.jpg\n"
        "  tinytl predict -a mine.safetensors photo.jpg\n\n"
        "Usage: tinytl COMMAND [options]\n\nCommands:\n",
        file);
  for (const struct command *command = commands; command->name; command++) {
    fprintf(file, "  %-10s%s\n", command->name, command->summary);
  }
  fputs("  help      this text, or that of a command: tinytl help train\n\n"
        "'tinytl COMMAND --help' lists a command's options; 'tinytl --version' prints the "
        "version.\n"
        "Exit codes: 0 done, 1 internal error, 2 usage, 3 bad data, 4 unsupported or damaged\n"
        "model, 5 over the memory limit, 6 interrupted.\n",
        file);
}

static int unknown_command(const char *name) {
  const char *names[sizeof commands / sizeof *commands + 1] = {"help"};
  for (int i = 0; commands[i].name; i++) names[i + 1] = commands[i].name;
  const char *nearest = cli_nearest(name, names);
  if (nearest)
    cli_error("no command '%s'; did you mean '%s'?", name, nearest);
  else
    cli_error("no command '%s'", name);
  cli_note("see 'tinytl help'");
  return TINYTL_ERROR_USAGE;
}

static int run(int argc, char **argv) {
  if (argc < 2) {
    print_help(stderr);
    return TINYTL_ERROR_USAGE;
  }
  const char *name = argv[1];
  bool wants_help =
      strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
  if (wants_help && (argc == 2 || strcmp(argv[2], name) == 0 || argv[2][0] == '-')) {
    print_help(stdout);
    return TINYTL_OK;
  }
  if (strcmp(name, "--version") == 0) {
    printf("tinytl %s (kernels: %s)\n", TINYTL_VERSION, tinytl_kernels_name());
    return TINYTL_OK;
  }
  const struct command *command = find_command(wants_help ? argv[2] : name);
  if (!command) return unknown_command(wants_help ? argv[2] : name);
  char help[] = "--help", *help_argv[] = {help, NULL};
  return wants_help ? command->run(1, help_argv) : command->run(argc - 2, argv + 2);
}

/* The number of a standard stream that the parent closed would go to the next file that is opened,
 * an adapter for one, and messages into that file. Read-only, so that writing still fails. */
static void occupy_closed_streams(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDONLY);
  }
}

/* What is freed goes back to the system at once, and the threads share one heap: what the process
 * holds is then what is planned. */
static void give_memory_back(void) {
#ifdef __GLIBC__
  enum { PAGES = 1 << 16 };
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, PAGES);
  mallopt(M_TRIM_THRESHOLD, PAGES);
  mallopt(M_TOP_PAD, 0);
#endif
}

int main(int argc, char **argv) {
  give_memory_back();
  occupy_closed_streams();
  const int exit_code = run(argc, argv);
  const bool is_done = exit_code == TINYTL_OK || exit_code == TINYTL_ERROR_DATA;
  const int failure = cli_stdout_error();
  if (failure == 0 || !is_done) return exit_code;
  cli_error("stdout: cannot be written: %s", strerror(failure));
  return TINYTL_ERROR_INTERNAL;
}
