package filestore

import (
	"fmt"
	"os"
)

// rewriteIfDue replaces the file of records by one without outdated lines, once
// these and the events since the last rewriting take up more than twice as much as
// the other lines.
//
// If the new file cannot be written, as on a full disk, the old one remains in
// use and the next writer tries again. Once the new file is in place there is no
// way back, so later errors are returned.
func (s *Store) rewriteIfDue(open *files) error {
	waste := s.records.end - s.state.live + s.events.end - s.head.Events
	if waste <= max(s.options.rewriteFrom, 2*s.state.live) {
		return nil
	}
	content, err := s.recordsAnew()
	if err != nil {
		return err
	}
	like, err := open.records.Stat()
	if err != nil {
		return unavailable(err)
	}
	// Windows cannot replace an open file.
	err = open.records.Close()
	open.records = nil
	if err != nil {
		return unavailable(err)
	}
	rewritten := write(s.options.disk, s.records.path, like, content) == nil
	if open.records, err = s.options.disk.OpenFile(s.records.path, os.O_RDWR); err != nil {
		return unavailable(err)
	}
	if rewritten {
		if err := s.options.disk.SyncDir(s.dir); err != nil {
			return unavailable(err)
		}
	}
	if err := s.catchUp(open); err != nil {
		return unavailable(err)
	}
	return nil
}

// recordsAnew returns the content of the new file: the last line of each record,
// and the lines whose name cannot be read.
func (s *Store) recordsAnew() ([]byte, error) {
	body := make([]byte, 0, s.state.live)
	for _, e := range s.state.lost {
		body = append(append(body, e.text...), '\n')
	}
	for _, r := range s.state.sorted() {
		if r.err != nil {
			body = append(append(body, r.garbled...), '\n')
			continue
		}
		line := r.recordLine
		line.More = 0
		var err error
		if body, err = appendLine(body, line); err != nil {
			return nil, fmt.Errorf("record %q: %w", r.Name, err)
		}
	}
	head := s.head
	head.Generation, head.Body = newGeneration(), int64(len(body))
	head.Events, head.EventLines, head.Seq = s.events.end, s.events.lines, s.state.seq
	content, err := appendLine(nil, head)
	return append(content, body...), err
}
