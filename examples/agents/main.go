// Agents is a small command-line program that runs agents, or any other
// commands, by name, and knows which of them still live: after a kill -9, after
// a reboot, when a PID belongs to somebody else by now. Stopped ones are resumed
// from their snapshots, and messages wait for them. All is in one SQLite file
// that any number of invocations use at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// command is one of the commands. setup adds its flags and returns what it does.
type command struct {
	name, arguments, summary, help string

	least, most int // how many arguments it takes; a negative most is no limit
	setup       func(*flag.FlagSet) action
}

type action func(ctx context.Context, a *app, arguments []string) error

var commands = []command{
	{"start", "[flags] NAME [--] COMMAND...", "start an agent, in the background or, with -f, here", startHelp, 2, -1, start},
	{"list", "", "list the agents, and say whether each of them lives", "", 0, 0, list},
	{"stop", "[flags] NAME...", "end agents, gracefully first", stopHelp, 0, -1, stop},
	{"resume", "[-f] NAME", "start a stopped agent again as it was", resumeHelp, 1, 1, resume},
	{"send", "NAME [--] TEXT...", "leave a message for an agent", sendHelp, 2, -1, send},
	{"inbox", "[-all] [NAME]", "show the messages for an agent", inboxHelp, 0, 1, inbox},
	{"log", "[NAME]", "show what was started and stopped, by whom and why", "", 0, 1, showLog},
	{"explain", "NAME", "say what is known of an agent, and what becomes of it", "", 1, 1, explain},
	{"orphans", "[flags]", "list, or end, processes of agents that are stopped", orphansHelp, 0, 0, orphans},
}

func main() {
	arguments := os.Args[1:]
	if len(arguments) == 2 && arguments[0] == "help" {
		arguments = []string{arguments[1], "-h"}
	}
	if len(arguments) == 0 || strings.Contains(" help -h -help --help ", " "+arguments[0]+" ") {
		printUsage()
		return
	}
	// The first Ctrl-C asks for an orderly end, the second one ends us.
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore)
	for _, c := range commands {
		if c.name == arguments[0] {
			os.Exit(c.main(ctx, arguments[1:]))
		}
	}
	complain(fmt.Errorf("%q is not a command (see \"agents help\")", arguments[0]))
	os.Exit(2)
}

func printUsage() {
	fmt.Print("Agents runs commands by name, and knows which of them still live: also after a\n" +
		"crash, a kill -9 or a reboot.\n\nusage: agents COMMAND [flags] [arguments]\n\n")
	for _, c := range commands {
		fmt.Printf("  %-35s %s\n", c.name+" "+c.arguments, c.summary)
	}
	dir, err := directory()
	if err != nil {
		dir = err.Error()
	}
	fmt.Printf("\n\"agents COMMAND -h\" has the flags. All is kept in $%s: %s\n", dirVariable, dir)
}

// exitStatus is the error of an agent in the foreground that did not end with 0.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// main runs the command and returns the exit status.
func (c *command) main(ctx context.Context, arguments []string) int {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what it has to say is said here
	run := c.setup(flags)
	// Flags come before the first argument or right after it.
	err := flags.Parse(arguments)
	operands := flags.Args()
	if err == nil && len(operands) > 0 {
		err = flags.Parse(operands[1:])
		operands = append(operands[:1:1], flags.Args()...)
	}
	usage := strings.TrimSpace("agents " + c.name + " " + c.arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Printf("usage: %s\n\n%s%s.\n%s", usage, strings.ToUpper(c.summary[:1]), c.summary[1:], c.help)
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		return 0
	}
	if err == nil && (len(operands) < c.least || c.most >= 0 && len(operands) > c.most) {
		err = errors.New("wrong number of arguments")
	}
	if err != nil {
		complain(fmt.Errorf("%w (usage: %s; see \"agents %s -h\")", err, usage, c.name))
		return 2
	}
	err = with(ctx, func(a *app) error { return run(ctx, a, operands) })
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	if err != nil {
		complain(err)
		return 1
	}
	return 0
}

func complain(err error) {
	fmt.Fprintln(os.Stderr, "agents: "+strings.ReplaceAll(err.Error(), "\n", "\nagents: "))
}
