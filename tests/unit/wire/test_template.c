/* --format templates: what docker's users write, and what must be refused. */
#include <json-c/json.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/template.h"

static const char data[] =
	"{\"ID\":\"abc\",\"N\":5,\"State\":{\"Pid\":42,\"Running\":true,\"Error\":\"\"},"
	"\"L\":[\"x\",\"y\"],\"M\":{\"a\":\"1\",\"b.c\":\"2\"},\"E\":[],\"Nil\":null,"
	"\"Mounts\":[{\"S\":\"/s\",\"D\":\"/d\"},{\"S\":\"/t\",\"D\":\"/e\"}]}";

/* Forty-one parentheses: one more than are followed. */
#define TEN_OPEN   "(((((((((("
#define TEN_CLOSE  "))))))))))"
#define FORTY(ten) ten ten ten ten
#define TOO_DEEP   "{{(" FORTY(TEN_OPEN) "1" FORTY(TEN_CLOSE) ")}}"

static void renders(void **state)
{
	static const struct {
		const char *template, *want;
	} rows[] = {
		{ "plain", "plain" },
		{ "{{.ID}}", "abc" },
		{ "{{ .ID }}-{{.N}}", "abc-5" },
		{ "{{.State.Pid}} {{.State.Running}}", "42 true" },
		{ "{{json .L}}", "[\"x\",\"y\"]" },
		{ "{{.L | json}}", "[\"x\",\"y\"]" },
		{ "{{.L}} {{.M}}", "[x y] map[a:1 b.c:2]" },
		{ "{{index .M \"b.c\"}}", "2" },
		{ "{{index .L 1}}", "y" },
		{ "{{(index .Mounts 0).S}}", "/s" },
		{ "{{range .L}}<{{.}}>{{end}}", "<x><y>" },
		{ "{{range .E}}x{{else}}none{{end}}", "none" },
		{ "{{range .Nil}}x{{end}}", "" },
		{ "{{range $i, $v := .L}}{{$i}}={{$v}} {{end}}", "0=x 1=y " },
		{ "{{range $k, $v := .M}}{{$k}}:{{$v}};{{end}}", "a:1;b.c:2;" },
		{ "{{range .Mounts}}{{.S}}->{{.D}} {{$.ID}} {{end}}", "/s->/d abc /t->/e abc " },
		{ "{{range .Mounts}}{{range $.L}}{{.}}{{end}};{{end}}", "xy;xy;" },
		{ "{{if .State.Running}}up{{else}}down{{end}}", "up" },
		{ "{{if .State.Error}}a{{else if eq .N 5}}b{{else}}c{{end}}", "b" },
		{ "{{if and .ID (not .E)}}yes{{end}}", "yes" },
		{ "{{with .State}}{{.Pid}}{{end}}", "42" },
		{ "{{join .L \", \"}}", "x, y" },
		{ "{{join (split \"a:b\" \":\") \"-\"}}", "a-b" },
		{ "{{upper .ID}} {{lower \"ABC\"}} {{title \"two words\"}}", "ABC abc Two Words" },
		{ "{{len .L}} {{len .ID}}", "2 3" },
		{ "{{printf \"%s/%d/%5s|%-5s|%q\" .ID .N \"r\" \"l\" \"q\"}}",
		  "abc/5/    r|l    |\"q\"" },
		{ "{{truncate .ID 2}}", "ab" },
		{ "a  {{- .ID -}}  b", "aabcb" },
		{ "{{/* note */}}x", "x" },
		{ "{{$x := .N}}{{$x}}", "5" },
		{ "{{println .ID}}", "abc\n" },
		{ "{{.ID}}\t{{.N}}", "abc\t5" },
		{ "{{or .State.Error \"fine\"}}", "fine" },
		{ "{{.Nil}}", "<no value>" },
		{ "{{gt .N 4}} {{lt .N 4}} {{ne .ID \"abc\"}}", "true false false" },
	};
	json_object *o = json_tokener_parse(data);

	(void)state;
	assert_non_null(o);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf b = BUF_INIT(65536);
		struct err e = ERR_INIT;

		if (template_render(rows[i].template, o, &b, &e))
			fail_msg("%s: %s", rows[i].template, e.msg);
		assert_string_equal(buf_str(&b), rows[i].want);
		buf_fini(&b);
	}
	json_object_put(o);
}

static void refuses(void **state)
{
	static const char *const rows[] = {
		"{{",
		"{{.ID",
		"{{.ID}",
		"{{.Nope}}",
		"{{nope .ID}}",
		"{{if .ID}}",
		"{{range .L}}",
		"{{end}}",
		"{{else}}",
		"{{.ID | .N}}",
		"{{index .L 7}}",
		"{{index .L \"x\"}}",
		"{{index .State nil}}",
		"{{\"open}}",
		"{{range .ID}}{{end}}",
		"{{$nope}}",
		"{{(.ID}}",
		"{{json}}",
		"{{json .ID .N}}",
		"{{printf \"%s\"}}",
		"{{99999999999999999999}}",
		"{{/* open}}",
		"{{if .ID}}{{else}}{{else}}{{end}}",
		"{{.ID.X.}}",
		TOO_DEEP,
	};
	json_object *o = json_tokener_parse(data);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf b = BUF_INIT(65536);
		struct err e = ERR_INIT;

		if (template_render(rows[i], o, &b, &e) == 0 || !e.msg[0])
			fail_msg("%s passed", rows[i]);
		buf_fini(&b);
	}
	json_object_put(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renders),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
