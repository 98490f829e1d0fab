//go:build unix

package signals

import (
	"os"
	"syscall"
)

func continueSignal() os.Signal { return syscall.SIGCONT }
