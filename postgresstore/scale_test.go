package postgresstore_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/pgserver"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// scaleVariable is the size of TestScale: machines and records of each, such as
// "1000x1000".
const scaleVariable = "ROLLCALL_FLEET_SCALE"

// TestScale measures what docs/fleet.md says. In its usual size it shows that
// the measuring works.
func TestScale(t *testing.T) {
	c := qt.New(t)
	s := &scale{T: t, records: 100, interval: 100 * time.Millisecond}
	machines, each := 20, 200*time.Millisecond
	if text := os.Getenv(scaleVariable); text == "" {
		t.Parallel()
		s.d = newDatabase(t)
	} else {
		_, err := fmt.Sscanf(text, "%dx%d", &machines, &s.records)
		c.Assert(err, qt.IsNil)
		each, s.interval = 30*time.Second, 10*time.Second // as with the default TTL of 30 s
		server, err := pgserver.Start("shared_buffers = 1GB", "max_wal_size = 4GB", "max_connections = 200")
		skipWithout(t, err)
		t.Cleanup(func() { c.Check(server.Stop(), qt.IsNil) })
		s.d = database{Pool: openURL(t, server.URL()+"&pool_max_conns=32"), schema: "public"}
	}
	s.fill(machines)

	s.steady(each)
	s.saturate(each)
	for _, survivors := range []int{1, machines / 2} {
		s.lose(machines/10, survivors)
	}
}

// scaleTTL is so long that no lease runs out while something else is measured.
const scaleTTL = 10 * time.Minute

type scale struct {
	*testing.T
	d        database
	records  int
	interval time.Duration          // of the beats of each
	leases   []*postgresstore.Lease // of the machines that live
	lost     int
}

func machineName(i int) string { return fmt.Sprintf("machine-%06d", i) }

func (s *scale) fill(machines int) {
	c := qt.New(s)
	began := time.Now()
	for i := range machines {
		lease, err := s.d.store(s, postgresstore.Options{Owner: machineName(i)}).Join(s.Context(), postgresstore.LeaseOptions{TTL: scaleTTL})
		c.Assert(err, qt.IsNil)
		s.leases = append(s.leases, lease)
	}
	s.Logf("%d machines joined one after the other in %v", machines, time.Since(began).Round(time.Millisecond))
	identity := before(s)
	execSQL(s, s.d, `INSERT INTO rollcall_records (name, incarnation, owner, epoch, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data)
		SELECT l.owner || '/job-' || n, gen_random_uuid(), l.owner, l.epoch, 'running', $1, n, $2, n, n, '', '{"argv":["sh","-c","exit 1"],"directory":"/srv/work"}'
		FROM generate_series(1, $3::integer) AS n, rollcall_leases AS l`, identity.String(), identity.Boot.String(), s.records)
	execSQL(s, s.d, `INSERT INTO rollcall_bindings SELECT seq, 'session of ' || name FROM rollcall_records`)
	execSQL(s, s.d, `VACUUM (ANALYZE) rollcall_records`)
	execSQL(s, s.d, `CHECKPOINT`)
	s.Logf("tables: %s", value(s, s.d, `SELECT string_agg(relname || ' ' || pg_size_pretty(pg_total_relation_size(oid)), ', ') FROM pg_class
		WHERE relname IN ('rollcall_records', 'rollcall_bindings', 'rollcall_leases')`))
}

// usage is what the server has used.
type usage struct {
	cpu time.Duration
	wal int64
}

// use is what the processes of the server have used until now. Those that serve
// the pool stay the same.
func (s *scale) use() usage {
	c := qt.New(s)
	var u usage
	const tick = 10 * time.Millisecond // USER_HZ of Linux
	pids := value(s, s.d, `SELECT string_agg(pid::text, ' ') FROM pg_stat_activity`)
	for pid := range strings.FieldsSeq(pids) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue // it has ended, or there is no /proc
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		for _, field := range fields[11:13] { // utime and stime
			n, err := strconv.Atoi(field)
			c.Assert(err, qt.IsNil)
			u.cpu += time.Duration(n) * tick
		}
	}
	c.Assert(s.d.QueryRow(s.Context(), `SELECT pg_current_wal_lsn() - '0/0'`).Scan(&u.wal), qt.IsNil)
	return u
}

// times are durations of one kind of call.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, d)
}

func (t *times) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return "none"
	}
	slices.Sort(t.all)
	at := func(part float64) time.Duration {
		return t.all[min(len(t.all)-1, int(part*float64(len(t.all))))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d, median %v, p99 %v, worst %v", len(t.all), at(0.5), at(0.99), at(1))
}

// beatAll has all living machines beat and look for lost ones, each as often as
// Run does, until ctx ends.
func (s *scale) beatAll(ctx context.Context, look bool) (beats, looks *times) {
	c := qt.New(s)
	beats, looks = &times{}, &times{}
	ticker := time.NewTicker(max(s.interval/time.Duration(len(s.leases)), time.Millisecond))
	defer ticker.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return beats, looks
		case <-ticker.C:
		}
		lease := s.leases[i%len(s.leases)]
		wg.Go(func() {
			began := time.Now()
			if err := lease.Beat(s.Context()); err != nil {
				c.Check(err, qt.IsNil)
				return
			}
			beats.add(time.Since(began))
			if !look {
				return
			}
			began = time.Now()
			stopped, err := lease.TakeOver(s.Context())
			c.Check(err, qt.IsNil)
			c.Check(stopped, qt.Equals, 0)
			looks.add(time.Since(began))
		})
	}
}

// steady is the cost of a fleet of which no machine is lost.
func (s *scale) steady(d time.Duration) {
	before := s.use()
	ctx, cancel := context.WithTimeout(s.Context(), d)
	defer cancel()
	beats, looks := s.beatAll(ctx, true)
	after := s.use()
	s.Logf("steady, %d machines, each every %v: beats %v; looks %v", len(s.leases), s.interval, beats, looks)
	s.Logf("steady: %.1f beats/s and as many looks, %.1f %% of one CPU, %.0f kB/s of WAL", float64(len(beats.all))/d.Seconds(),
		100*(after.cpu-before.cpu).Seconds()/d.Seconds(), float64(after.wal-before.wal)/1000/d.Seconds())
}

// saturate is how many beats the server can take, and looks.
func (s *scale) saturate(d time.Duration) {
	c := qt.New(s)
	for _, kind := range []string{"beats", "looks"} {
		before := s.use()
		var done times
		var wg sync.WaitGroup
		deadline := time.Now().Add(d)
		const clients = 16
		for i := range clients {
			wg.Go(func() {
				for j := i; time.Now().Before(deadline); j += clients {
					lease := s.leases[j%len(s.leases)]
					began := time.Now()
					var err error
					if kind == "beats" {
						err = lease.Beat(s.Context())
					} else {
						_, err = lease.TakeOver(s.Context())
					}
					c.Check(err, qt.IsNil)
					done.add(time.Since(began))
				}
			})
		}
		wg.Wait()
		after := s.use()
		n := time.Duration(len(done.all))
		s.Logf("%d clients, as many %s as can be: %.0f/s, %v; CPU of the server %v each, WAL %d bytes each", clients, kind,
			float64(n)/d.Seconds(), &done, ((after.cpu - before.cpu) / max(n, 1)).Round(time.Microsecond), (after.wal-before.wal)/int64(max(n, 1)))
	}
}

// lose loses machines at once, and has some survivors take them over while all
// go on beating.
func (s *scale) lose(machines, survivors int) {
	c := qt.New(s)
	var owners []string
	for range machines {
		owners = append(owners, machineName(s.lost))
		s.lost++
	}
	s.leases = s.leases[machines:]
	survivors = min(survivors, len(s.leases))
	silence(s, s.d, owners...)
	execSQL(s, s.d, `UPDATE rollcall_leases SET since = since - interval '2 hours', beat_at = greatest(beat_at, clock_timestamp() - interval '10 seconds')
		WHERE owner <> ALL($1::text[])`, owners)
	before := s.use()
	ctx, cancel := context.WithCancel(s.Context())
	var beating sync.WaitGroup
	var beats *times
	beating.Go(func() { beats, _ = s.beatAll(ctx, false) })
	stopped := make([]int, survivors)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range survivors {
		wg.Go(func() {
			var err error
			stopped[i], err = s.leases[i].TakeOver(s.Context())
			c.Check(err, qt.IsNil)
		})
	}
	wg.Wait()
	took := time.Since(began)
	// Whoever found no slot has left; a commit may have been a moment late.
	last, err := s.leases[0].TakeOver(s.Context())
	c.Check(err, qt.IsNil)
	stopped[0] += last
	cancel()
	beating.Wait()
	after := s.use()
	total, most, idle := 0, 0, 0
	for _, n := range stopped {
		total += n
		most = max(most, n)
		if n == 0 {
			idle++
		}
	}
	c.Check(total, qt.Equals, machines*s.records)
	s.Logf("%d machines lost, %d records: %d survivors took %v, %.0f records/s; one of them at most %d, %d of them none; CPU of the server %v each, WAL %d bytes each",
		machines, total, survivors, took.Round(time.Millisecond), float64(total)/took.Seconds(), most, idle,
		((after.cpu - before.cpu) / time.Duration(max(total, 1))).Round(time.Microsecond), (after.wal-before.wal)/int64(max(total, 1)))
	s.Logf("meanwhile beats: %v", beats)
}
