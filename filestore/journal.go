package filestore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// journal is a file of lines that grows at its end. The lines of one write are a
// step, which is in the file whole or not at all: the next writer cuts off a step
// whose last line is missing.
type journal struct {
	path   string
	decode func(text []byte) entry
	// end is where the last whole step that was read ends. unended says that its
	// last line has no newline yet.
	end     int64
	unended bool
	lines   int // up to end
	// flushed is up to where the file was flushed before it took its place.
	flushed int64
}

// entry is a decoded line.
type entry struct {
	line    int    // its number in the file
	size    int64  // with its newline
	err     error  // why it is garbled
	text    string // of a garbled line
	cut     bool   // garbled because its write was cut short
	unended bool   // without a newline
	more    int    // lines of the same step that follow
	lasting bool   // the step was flushed to the disk before it was acknowledged
	row     *row   // of the records; has name and incarnation of a garbled line
	event   stopped
}

// errShrunk says that a file lost what was read from it.
var errShrunk = errors.New("it is shorter than it was")

// startAt makes the next catchUp read from end, behind so many lines.
func (j *journal) startAt(end int64, lines int, flushed int64) {
	j.end, j.lines, j.flushed, j.unended = end, lines, flushed, false
}

// catchUp calls apply for each line of the steps that were written since the last
// call. A step that was cut short is left out, see [step].
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
	s := step{end: j.end, lines: j.lines}
	for text, err := range lines(f, j.end, info.Size()) {
		if err != nil {
			return err
		}
		s.end += int64(len(text))
		if string(text) != "\n" { // which the line before it lacked
			s.lines++
			s.add(j.entry(text, s.lines, s.end))
		}
		if s.whole() {
			j.take(&s, apply)
		}
	}
	if s.damaged() {
		j.take(&s, apply)
	}
	return nil
}

// entry decodes the line that ends at a position of the file.
func (j *journal) entry(text []byte, number int, end int64) entry {
	e := j.decode(text)
	e.line, e.size = number, int64(len(text))
	e.unended = !bytes.HasSuffix(text, []byte("\n"))
	flushed := end <= j.flushed
	e.lasting = e.lasting || flushed
	e.cut = e.err != nil && !flushed && (e.unended || bytes.IndexByte(text, 0) >= 0)
	return e
}

// take passes on the lines of a step, and ends the journal behind it.
func (j *journal) take(s *step, apply func(entry)) {
	j.end, j.lines, j.unended = s.end, s.lines, false
	for _, e := range s.entries {
		apply(e)
		j.unended = e.unended
	}
	s.entries, s.torn = nil, false
}

// step is the lines that were read and not passed on yet.
//
// There are two kinds of garbled lines. One was cut short, because its writer was
// killed or the machine lost power: it has no newline, or it has zero bytes, which
// is how a file system shows a block that was never written. Its step was not
// acknowledged, and is dropped. Any other line was damaged after it was written. It
// is passed on with its error, so that nothing is lost unseen.
//
// A line that was flushed to the disk proves that all lines before it were flushed
// too. None of them was cut short, whatever it looks like.
type step struct {
	entries []entry
	torn    bool  // one of them was cut short
	end     int64 // of what was read of the file
	lines   int   // up to end
}

func (s *step) add(e entry) {
	s.entries = append(s.entries, e)
	s.torn = s.torn || e.cut
}

// whole reports whether the last line completes the step. A damaged line does if
// it stands alone: how many lines were to follow it is unknown.
func (s *step) whole() bool {
	if len(s.entries) == 0 {
		return true
	}
	last := s.entries[len(s.entries)-1]
	if last.err != nil {
		return s.damaged() && len(s.entries) == 1
	}
	return last.more == 0 && (!s.torn || last.lasting)
}

// damaged reports whether the last line was damaged, and no line was cut short. At
// the end of the file that completes a step: its last line is there.
func (s *step) damaged() bool {
	n := len(s.entries)
	return n > 0 && !s.torn && s.entries[n-1].err != nil
}

// lines yields the lines of a part of a file, each with its newline.
func lines(f io.ReaderAt, from, to int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), 64<<10)
		for {
			text, err := r.ReadBytes('\n')
			switch {
			case err == io.EOF && len(text) == 0:
				return
			case err != nil && err != io.EOF:
				yield(nil, err)
				return
			case !yield(text, nil):
				return
			}
		}
	}
}

// append writes a step behind the last whole one, in place of the rest of a step
// that was cut short. After an error nothing of it remains, unless the error says
// that it could not be taken back.
func (j *journal) append(f file, text []byte, lasting bool) error {
	if j.unended {
		text = append([]byte("\n"), text...)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > j.end {
		// Flush, so that a loss of power cannot mix the rest with the new lines.
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
