//go:build !unix

package signals

func ofSystem() signals { return signals{} }
