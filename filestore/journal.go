package filestore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// journal is a file of lines that grows at its end. What was written in one step
// is there whole or not at all: the last line of a step says so, and a step that
// lacks it is cut off by the next writer.
type journal struct {
	path   string
	decode func(text []byte) entry
	// end is where the last whole step ends that was read; unended says that
	// its line has no end yet.
	end     int64
	unended bool
	lines   int // up to end
	// flushed is up to where the file was flushed when it was made.
	flushed int64
}

// entry is a decoded line.
type entry struct {
	line    int    // its number in the file
	size    int64  // with its end
	err     error  // why it is garbled
	text    string // of a garbled line
	more    int    // lines of the same step that follow
	lasting bool   // the step was flushed to the disk before it was acknowledged
	row     *row   // of the records; has name and incarnation of a garbled line
	event   stopped
}

// errShrunk says that a file lost what was read from it.
var errShrunk = errors.New("it is shorter than it was")

// catchUp calls apply for each line that came after those that were read.
//
// What is left of a step that was cut short, by the death of its writer or of
// the machine, is not passed on. It is told from a line that was damaged later
// by three things: nothing follows that was flushed to the disk, for then it
// would have been flushed too; and either the line has no end, or it holds zero
// bytes, which is how a file system shows a block that was never written, or
// lines of its step are missing. A line that was damaged later is passed on as
// an entry with an error: nothing is dropped unseen.
func (j *journal) catchUp(f file, apply func(entry)) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() < j.end:
		return errShrunk
	case info.Size() == j.end:
		return nil
	}
	var pending []entry // read, and not yet known to be of a whole step
	torn := false       // one of them was cut short
	at, line := j.end, j.lines
	done := func(unended bool) {
		for _, e := range pending {
			apply(e)
		}
		pending, torn = nil, false
		j.end, j.lines, j.unended = at, line, unended
	}
	damaged := false // the last line, and not by being cut short
	for text, err := range lines(f, at, info.Size()) {
		if err != nil {
			return err
		}
		at += int64(len(text))
		if string(text) == "\n" { // the end that the line before it lacked
			if len(pending) == 0 {
				done(false)
			}
			continue
		}
		line++
		e := j.decode(text)
		e.line, e.size = line, int64(len(text))
		unended := !bytes.HasSuffix(text, []byte("\n"))
		old := at <= j.flushed
		cut := e.err != nil && !old && (unended || bytes.IndexByte(text, 0) >= 0)
		torn, damaged = torn || cut, e.err != nil && !cut
		pending = append(pending, e)
		switch {
		case damaged && !torn && len(pending) == 1, e.err == nil && e.more == 0 && (!torn || e.lasting || old):
			done(unended)
		}
	}
	if damaged && !torn && len(pending) > 0 {
		done(false)
	}
	return nil
}

// lines yields the lines of a part of a file, each with its end. The text is
// valid until the next one.
func lines(f io.ReaderAt, from, to int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), 64<<10)
		for {
			text, err := r.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				text = bytes.Clone(text)
				var rest []byte
				rest, err = r.ReadBytes('\n')
				text = append(text, rest...)
			}
			if len(text) > 0 && (err == nil || err == io.EOF) {
				if !yield(text, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// append writes lines behind the last whole step, in place of what is left of
// one that was cut short. With an error they are not there, as far as what was
// written could be taken back.
func (j *journal) append(f file, text []byte, lasting bool) error {
	if j.unended {
		text = append([]byte("\n"), text...)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > j.end {
		// The disk must not mix the old with the new.
		if err := f.Truncate(j.end); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	_, err = f.WriteAt(text, j.end)
	if err == nil && lasting {
		err = f.Sync()
	}
	if err != nil {
		if undo := f.Truncate(j.end); undo != nil {
			err = fmt.Errorf("%w; and it could not be taken back: %w", err, undo)
		}
		return err
	}
	j.end += int64(len(text))
	j.lines += bytes.Count(text, []byte("\n"))
	if j.unended {
		j.lines--
	}
	j.unended = false
	return nil
}
