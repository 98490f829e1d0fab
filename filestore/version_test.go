package filestore_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/storefixture"
	"github.com/rollcall-go/rollcall/liveness"
)

// testdata/version1 was written before the package moved to the top level. Its
// files are read as they are: records, events and gate.
func TestFilesOfVersion1AreRead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	for _, name := range []string{recordsFile, eventsFile, "gate"} {
		writeFile(t, readFile(t, "testdata", "version1", name), dir, name)
	}
	store := open(t, dir, filestore.Options{})
	records, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 1)
	record := records[0]
	c.Assert(record.SameState(running("worker", liveness.Identity{})), qt.IsTrue)
	bound, err := store.Bound(t.Context(), "session of worker")
	c.Assert(err, qt.IsNil)
	c.Assert(bound.Name, qt.Equals, "worker")
	c.Assert(stopped(t, store), qt.DeepEquals, []string{"child: parent_stopped", "web: exit:reboot"})

	gate := store.Gate()
	key := "rollcall/clean/34f1d24a-ac65-41c6-9747-1a33e1cba659/4026531836.4026531836.1/"
	c.Assert(value(t, gate, key), qt.Equals, "done 12851140756438")
	c.Assert(value(t, gate, "a \"key\"\n"), qt.Equals, "ä\xff")

	// They are written to as well.
	_, err = store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	swap(t, gate, key, "done 12851140756438", "open")
	c.Assert(value(t, gate, key), qt.Equals, "open")
	c.Assert(value(t, gate, "a \"key\"\n"), qt.Equals, "ä\xff")
	c.Assert(names(t, open(t, dir, filestore.Options{})), qt.HasLen, 0)
}

func TestDeepDataOfAnEarlierVersionIsKept(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	open(t, dir, filestore.Options{})
	content := readFile(t, dir, recordsFile)
	for i := range 3 {
		record := running(numbered("worker", i), liveness.Identity{})
		record.Data = storefixture.DeepData
		line, err := filestore.RecordLine(record, int64(i)+1)
		qt.Assert(t, err, qt.IsNil)
		content += string(line)
	}
	writeFile(t, content, dir, recordsFile)
	storefixture.CheckDeepData(t, open(t, dir, filestore.Options{}))
}
