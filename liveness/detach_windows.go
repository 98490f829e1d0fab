package liveness

import (
	"syscall"

	"golang.org/x/sys/windows"
)

func detach(attributes *syscall.SysProcAttr) {
	attributes.CreationFlags |= windows.CREATE_NO_WINDOW | windows.CREATE_NEW_PROCESS_GROUP
}
