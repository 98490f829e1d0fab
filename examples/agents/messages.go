package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// The table is this program's own, beside those of the store. Messages go to a
// name, not to an incarnation: one that was not read waits for whoever has the
// name next, such as the resumed agent.
const messagesSchema = `
CREATE TABLE IF NOT EXISTS messages (
  id      INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of the commits
  sent_at INTEGER NOT NULL,                  -- seconds since 1970
  sender  TEXT NOT NULL,
  name    TEXT NOT NULL,
  text    TEXT NOT NULL,
  is_read INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS messages_name ON messages (name);`

const sendHelp = `
One for a stopped agent waits until it is resumed. The sender is the agent in which
the command runs, or else "user".
`

const inboxHelp = `
Inside an agent NAME is not needed. Each message is shown once. Those that were
shown are dropped when the agent stops; the others wait until it is resumed.

`

// dropReadMessages is called in the transaction that stops an agent: it ends with
// what it has read, and what it has not read stays.
func dropReadMessages(ctx context.Context, tx sqlitestore.Tx, event lifecycle.Event) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM messages WHERE name = ? AND is_read`, event.Name)
	return err
}

func send(*flag.FlagSet) action {
	return func(ctx context.Context, a *app, arguments []string) error {
		name, text := arguments[0], strings.Join(arguments[1:], " ")
		_, err := a.record(ctx, name)
		stopped := errors.Is(err, errStopped)
		if err != nil && !stopped {
			return err
		}
		_, err = a.db.ExecContext(ctx, `INSERT INTO messages (sent_at, sender, name, text) VALUES (?, ?, ?, ?)`,
			time.Now().Unix(), caller(), name, text)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if stopped {
			fmt.Printf("%s is stopped; the message waits until it is resumed\n", name)
		} else {
			fmt.Printf("sent to %s\n", name)
		}
		return nil
	}
}

func inbox(flags *flag.FlagSet) action {
	all := flags.Bool("all", false, "show those that were read, too")
	return func(ctx context.Context, a *app, arguments []string) error {
		name := os.Getenv(nameVariable)
		if len(arguments) > 0 {
			name = arguments[0]
		}
		if name == "" {
			return errors.New("whose messages? (usage: agents inbox NAME)")
		}
		if _, err := a.record(ctx, name); err != nil && !errors.Is(err, errStopped) {
			return err
		}
		last, err := a.printMessages(ctx, name, *all)
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		// Who is killed before this sees them again, and misses none.
		_, err = a.db.ExecContext(ctx, `UPDATE messages SET is_read = 1 WHERE name = ? AND id <= ? AND NOT is_read`, name, last)
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		return nil
	}
}

// printMessages returns the id of the last message that it has printed.
func (a *app) printMessages(ctx context.Context, name string, all bool) (last int64, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT id, sent_at, sender, text FROM messages WHERE name = ? AND (? OR NOT is_read) ORDER BY id`, name, all)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	out := bufio.NewWriter(os.Stdout)
	for rows.Next() {
		var sent int64
		var sender, text string
		if err := rows.Scan(&last, &sent, &sender, &text); err != nil {
			return 0, err
		}
		text = strings.ReplaceAll(printable(text), "\n", "\n  ")
		fmt.Fprintf(out, "from %s, %s:\n  %s\n", printable(sender), ago(time.Unix(sent, 0)), text)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if last == 0 {
		fmt.Fprintf(out, "no messages for %s\n", name)
	}
	return last, out.Flush()
}
