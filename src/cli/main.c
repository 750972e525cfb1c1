/*
 * warren: the front door. Only this file ends the program.
 *
 * Trust: argv and the environment are the user's. Threads: none. #syscalls: exit_group
 */
#include <string.h>

#include "base/str.h"
#include "cli/oci.h"

int main(int argc, char **argv)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;
	const char *as = argc ? str_after(slash ? slash + 1 : argv[0], "warren-oci") : NULL;

	/* "warren-oci", "warren-oci-pv", "warren-oci-vm" */
	if (as) {
		oci.wall = *as == '-' ? as + 1 : NULL;
		return cli_run(&cmd_oci, "warren", argc, argv);
	}
	return cli_dispatch(commands, "warren", argc, argv);
}
