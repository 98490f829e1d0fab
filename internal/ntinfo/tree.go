package ntinfo

import (
	"iter"
	"slices"
)

// ChildOf reports whether the process was started by the parent. The PID of a
// parent that has exited is given to others, who started later than the child.
func (p Process) ChildOf(parent Process) bool {
	return p.Parent == parent.PID && p.PID != parent.PID && p.Created >= parent.Created
}

// Descendants returns the children of the ancestors, theirs, and so on, without
// the ancestors.
func Descendants(all iter.Seq[Process], ancestors []Process) []Process {
	children := map[uint64][]Process{}
	for process := range all {
		children[process.Parent] = append(children[process.Parent], process)
	}
	known := make(map[uint64]bool, len(ancestors))
	for _, ancestor := range ancestors {
		known[ancestor.PID] = true
	}
	tree := slices.Clone(ancestors)
	for i := 0; i < len(tree); i++ {
		for _, child := range children[tree[i].PID] {
			if !known[child.PID] && child.ChildOf(tree[i]) {
				known[child.PID] = true
				tree = append(tree, child)
			}
		}
	}
	return tree[len(ancestors):]
}
