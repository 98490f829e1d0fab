package sqlitestore

import (
	"database/sql"
	"fmt"

	"github.com/rollcall-go/rollcall/internal/storekit"
)

// columns are those that cells reads.
const columns = `seq, name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data`

// row is a row of the records table. The pointers of its Row lead into it, which
// saves an allocation for each.
type row struct {
	storekit.Row
	createdAt, beatWall int64
	data                string
}

// cells read rows one after the other. SQLite keeps in a column whatever type was
// written to it.
type cells struct {
	seq                                       int64
	name, incarnation, owner, phase, identity any
	createdAt, beatBoot, beatAwake, beatWall  any
	parent, data                              any
}

func (c *cells) dest() []any {
	return []any{
		&c.seq, &c.name, &c.incarnation, &c.owner, &c.phase, &c.identity,
		&c.createdAt, &c.beatBoot, &c.beatAwake, &c.beatWall, &c.parent, &c.data,
	}
}

// decode fills in the row. A column of another type than its own is garbled.
func (c *cells) decode(r *row) {
	*r = row{Row: storekit.Row{
		Seq: c.seq, Name: textOf(c.name), Incarnation: textOf(c.incarnation), Owner: textOf(c.owner), Parent: textOf(c.parent),
		Phase: textOf(c.phase), Identity: textOf(c.identity), BeatBoot: textOf(c.beatBoot),
	}}
	r.integer("beat_awake", c.beatAwake, &r.BeatAwake)
	if c.beatWall != nil && r.integer("beat_wall", c.beatWall, &r.beatWall) {
		r.BeatWall = &r.beatWall
	}
	if c.createdAt != nil && r.integer("created_at", c.createdAt, &r.createdAt) {
		r.CreatedAt = &r.createdAt
	}
	if c.data != nil {
		r.data = textOf(c.data)
		r.Data = &r.data
	}
}

func (r *row) integer(column string, value any, to *int64) (ok bool) {
	if *to, ok = value.(int64); ok {
		return true
	}
	if r.Garbled == nil {
		r.Garbled = map[string]string{}
		r.Err = r.ColumnError(column, fmt.Errorf("%v is a %T, not an integer", value, value))
	}
	r.Garbled[column] = storekit.RawText(textOf(value))
	return false
}

// textOf returns a column as a text, whatever its type.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// scanRow reads the one row of a query.
func scanRow(from *sql.Row, r *row) error {
	var c cells
	if err := from.Scan(c.dest()...); err != nil {
		return err
	}
	c.decode(r)
	return nil
}

// scanRows appends all rows to those of a page, and closes them. The pointers of a
// row remain valid if the page grows.
func scanRows(page []row, rows *sql.Rows) ([]row, error) {
	defer rows.Close()
	var c cells
	dest := c.dest()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return page, err
		}
		page = append(page, row{})
		c.decode(&page[len(page)-1])
	}
	return page, rows.Err()
}

// values returns the values of the columns but seq, as they are inserted.
func values(r storekit.Row) []any {
	return []any{
		r.Name, r.Incarnation, r.Owner, r.Phase, r.Identity, nullable(r.CreatedAt),
		r.BeatBoot, r.BeatAwake, nullable(r.BeatWall), r.Parent, nullable(r.Data),
	}
}

func nullable[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}
