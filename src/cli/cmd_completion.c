/*
 * warren completion SHELL, and the hidden `warren complete WORD...` that its scripts call at each
 * Tab.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: write
 */
#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "cli/cli.h"

/* Bash cuts words at ':' and '=', so the line is split anew at blanks, and from each candidate the
 * part that bash already took for a word of its own is removed. */
static const char bash[] =
	"_warren()\n"
	"{\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} word front lines\n"
	"\tlocal -a words\n"
	"\tread -ra words <<<\"$line\"\n"
	"\t[[ $line == *[[:space:]] ]] && words+=(\"\")\n"
	"\tword=${words[${#words[@]} - 1]}\n"
	"\tfront=${word%\"${word##*[:=]}\"}\n"
	"\tmapfile -t lines < <(\"${words[0]}\" complete -- \"${words[@]:1}\" 2>/dev/null)\n"
	"\tCOMPREPLY=()\n"
	"\tcase ${lines[${#lines[@]} - 1]} in\n"
	"\t:file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "
	"\"${word#\"$front\"}\") ;;\n"
	"\t:dir) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "
	"\"${word#\"$front\"}\") ;;\n"
	"\t*)\n"
	"\t\tunset 'lines[${#lines[@]}-1]'\n"
	"\t\tlines=(\"${lines[@]%%$'\\t'*}\")\n"
	"\t\tCOMPREPLY=(\"${lines[@]#\"$front\"}\") ;;\n"
	"\tesac\n"
	"}\n"
	"complete -F _warren warren\n";

static const char zsh[] =
	"#compdef warren\n"
	"_warren()\n"
	"{\n"
	"\tlocal -a lines candidates\n"
	"\tlocal line\n"
	"\tlines=(\"${(@f)$(${words[1]} complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
	"\tcase ${lines[-1]} in\n"
	"\t:file) _files ;;\n"
	"\t:dir) _files -/ ;;\n"
	"\t*)\n"
	"\t\tfor line in \"${(@)lines[1,-2]}\"; do\n"
	"\t\t\tcandidates+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
	"\t\tdone\n"
	"\t\t_describe warren candidates ;;\n"
	"\tesac\n"
	"}\n"
	"if [ \"$funcstack[1]\" = _warren ]; then _warren \"$@\"; else compdef _warren warren; "
	"fi\n";

static const char fish[] = "function __warren_complete\n"
			   "\tset -l words (commandline -opc) (commandline -ct)\n"
			   "\tset -l lines ($words[1] complete -- $words[2..-1] 2>/dev/null)\n"
			   "\tswitch \"$lines[-1]\"\n"
			   "\t\tcase :file\n"
			   "\t\t\t__fish_complete_path (commandline -ct)\n"
			   "\t\tcase :dir\n"
			   "\t\t\t__fish_complete_directories (commandline -ct)\n"
			   "\t\tcase '*'\n"
			   "\t\t\tset -e lines[-1]\n"
			   "\t\t\tprintf '%s\\n' $lines\n"
			   "\tend\n"
			   "end\n"
			   "complete -c warren -f -a '(__warren_complete)'\n";

static int run_completion(void *settings, int argc, char **argv, struct err *e)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

	(void)settings, (void)argc;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		if (streq(argv[0], scripts[i].shell)) {
			fputs(scripts[i].script, stdout);
			return 0;
		}
	}
	return err_set(e, -EINVAL, "completion: '%s' is none of bash, zsh, fish", argv[0]);
}

extern const struct command cmd_completion;
const struct command cmd_completion = {
	.name = "completion",
	.args = "bash|zsh|fish",
	.summary = "Print a shell's completion script",
	.text = "Put its output where the shell looks for completions, or read it at once:\n"
		"\n"
		"  source <(warren completion bash)\n"
		"  warren completion zsh > ~/.zfunc/_warren\n"
		"  warren completion fish > ~/.config/fish/completions/warren.fish",
	.run = run_completion,
	.min_args = 1,
	.max_args = 1,
};

static int run_complete(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings, (void)e;
	complete_words(stdout, commands, argc, argv);
	return 0;
}

extern const struct command cmd_complete;
const struct command cmd_complete = {
	.name = "complete",
	.args = "-- WORD...",
	.summary = "What may stand for the last word of a command line",
	.run = run_complete,
	.hidden = true,
	.stop_at_arg = true,
	.max_args = -1,
};
