/*
 * warren: the front door. Only this file ends the program.
 *
 * Trust: argv and the environment are the user's. Threads: none. #syscalls: exit_group
 */
#include "cli/cli.h"

int main(int argc, char **argv)
{
	return cli_dispatch(commands, "warren", argc, argv);
}
