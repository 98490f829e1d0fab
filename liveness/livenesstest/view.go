package livenesstest

import (
	"fmt"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// View is how the machine looks from one place. Another process sees the same
// processes under the same PIDs and may see another boot ID, or not PID 1: a
// service in a container of LXC or systemd-nspawn under hidepid does.
//
// What a View lacks, such as PIDUnique on Linux before 6.18, it still lacks
// after [World.Reboot] and [World.RestartContainer].
type View struct {
	// Boot is the boot ID, with the machine ID.
	Boot bootid.ID
	// Namespace is what identities have as their Namespace. InitStart is that
	// without TimeOffset.
	Namespace liveness.Namespace
	// TimeOffset is the offset of the time namespace (time_namespaces(7)). It
	// moves InitStart and Start, as they are read here. A test that changes it
	// changes Namespace.Time too, unless the number was given again.
	TimeOffset time.Duration
}

// firstView is that of no boot yet: the one that follows has its qualities. The
// numbers of the namespaces are those in which Linux boots.
var firstView = View{
	Boot: bootid.ID{Machine: "00000000000000000000000000000001", Quality: bootid.Native},
	Namespace: liveness.Namespace{
		PID: initialPIDNamespace, PIDUnique: initialPIDNamespace, InitStart: 1, Time: initialTimeNamespace,
	},
}

const (
	initialPIDNamespace  = 4026531836
	initialTimeNamespace = 4026531834
)

var errNoBoot = fmt.Errorf("livenesstest: read boot ID: %w", ErrDenied)

// View returns how the World sees the machine, at first from outside of all
// containers, with everything that Linux gives.
func (w *World) View() View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

// SetView has the World see the machine from another place, or as a machine
// that names its boots and namespaces in another way. Processes go on. Identities
// are recorded, and judged, as it is seen from now on.
//
//	view := world.View()
//	view.Boot.Machine = "" // a container without a machine ID
//	world.SetView(view)
func (w *World) SetView(view View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.view = view
}

// ExclusiveNamespace has the World judge as with
// [liveness.Options.ExclusiveNamespace].
func (w *World) ExclusiveNamespace() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exclusive = true
}

// SameMachine has the World judge as with [liveness.Options.SameMachine].
func (w *World) SameMachine() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sameMachine = true
}

// WithoutUnique has the World be a system that gives no unique numbers, such
// as Linux before 6.9. Processes that have the same PID and start stamp are
// the same to it.
func (w *World) WithoutUnique() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noUnique = true
}

// enterBoot moves the view to a new boot, outside of all containers.
func (w *World) enterBoot() {
	w.newBootID()
	namespace := firstView.Namespace
	namespace.InitStart = w.bootIDs // PID 1 starts at another moment in each boot
	w.view.TimeOffset = 0
	w.enter(namespace)
}

// enterContainer moves the view to a new container.
func (w *World) enterContainer() {
	if w.view.Boot.Quality == bootid.Given {
		w.newBootID()
	}
	w.enter(w.newNamespace())
}

// newBootID gives the boot a new ID, if there is one to be read.
func (w *World) newBootID() {
	w.bootIDs++
	if w.view.Boot.Quality != 0 {
		w.view.Boot.Boot = fmt.Sprintf("00000000-0000-4000-8000-%012d", w.bootIDs)
	}
}

// newNamespace makes a PID namespace whose PID 1 starts now. The time namespace
// stays.
func (w *World) newNamespace() liveness.Namespace {
	w.namespaces++
	namespace := w.view.Namespace
	namespace.PID, namespace.PIDUnique, namespace.InitStart = w.namespaces, w.namespaces, w.stamp()
	return w.lacking(namespace)
}

// enter moves the view to a namespace.
func (w *World) enter(namespace liveness.Namespace) {
	if w.view.Namespace.PID == 0 {
		namespace.PID = 0
	}
	w.view.Namespace = w.lacking(namespace)
}

// lacking leaves out of a namespace what the view lacks, apart from its number.
func (w *World) lacking(namespace liveness.Namespace) liveness.Namespace {
	now := w.view.Namespace
	if now.PIDUnique == 0 {
		namespace.PIDUnique = 0
	}
	if now.InitStart == 0 {
		namespace.InitStart = 0
	}
	if now.Time == 0 {
		namespace.Time = 0
	}
	return namespace
}

// seen is a namespace as it is recorded in this view.
func (w *World) seen(namespace liveness.Namespace) liveness.Namespace {
	if namespace.InitStart != 0 {
		namespace.InitStart = w.seenStamp(namespace.InitStart)
	}
	return namespace
}

// seenStamp is a start stamp as it is read in the time namespace of this view.
func (w *World) seenStamp(stamp uint64) uint64 {
	return stamp + uint64(w.view.TimeOffset/tick) // a negative one wraps around twice
}
