// Package tap prints the Test Anything Protocol: the few functions that the runtime-tools validation programs
// call. Debian has no package of the library that they were written for, so this stands in its place.
package tap

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// T counts the results of one program.
type T struct {
	n    int
	plan bool
	todo *T // set: results are marked as not expected to pass, and counted there
}

// New returns a T that prints to stdout.
func New() *T {
	return &T{}
}

// Header begins the output; a count of 0 leaves the plan to AutoPlan.
func (t *T) Header(count int) {
	fmt.Println("TAP version 13")
	if count > 0 {
		fmt.Printf("1..%d\n", count)
		t.plan = true
	}
}

// AutoPlan ends the output with the number of results.
func (t *T) AutoPlan() {
	if !t.plan {
		fmt.Printf("1..%d\n", t.n)
		t.plan = true
	}
}

// Ok prints one result.
func (t *T) Ok(ok bool, description string) {
	word := "ok"
	if !ok {
		word = "not ok"
	}
	mark, counter := "", t
	if t.todo != nil {
		mark, counter = " # TODO", t.todo
	}
	counter.n++
	fmt.Printf("%s %d - %s%s\n", word, counter.n, description, mark)
}

// Todo returns a T whose results nobody expects to pass.
func (t *T) Todo() *T {
	return &T{todo: t}
}

// Pass is Ok(true, ...).
func (t *T) Pass(description string) {
	t.Ok(true, description)
}

// Fail is Ok(false, ...).
func (t *T) Fail(description string) {
	t.Ok(false, description)
}

// Skip prints `count` results that were not tried.
func (t *T) Skip(count int, description string) {
	for i := 0; i < count; i++ {
		t.n++
		fmt.Printf("ok %d # SKIP %s\n", t.n, description)
	}
}

// Diagnostic prints a comment.
func (t *T) Diagnostic(message string) {
	for _, line := range strings.Split(message, "\n") {
		fmt.Printf("# %s\n", line)
	}
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, args ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, args...))
}

// YAML attaches a value to the last result; JSON is YAML.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return err
	}
	fmt.Printf("  ---\n  %s\n  ...\n", text)
	return nil
}
