/* The subcommands. argv holds what follows the command's name; the result is the exit code. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

int cli_import(int argc, char **argv);
int cli_init(int argc, char **argv);
int cli_pretrain(int argc, char **argv);
int cli_search(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_train(int argc, char **argv);
int cli_plan(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_predict(int argc, char **argv);
int cli_bench(int argc, char **argv);

#endif
