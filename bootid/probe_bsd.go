//go:build dragonfly || freebsd || netbsd || openbsd

package bootid

import "github.com/google/uuid"

func (runningKernel) platformUUID() (uuid.UUID, error) { return uuid.Nil, errMissing }
