module github.com/rollcall-go/rollcall

go 1.26.0

require (
	github.com/frankban/quicktest v1.14.6
	github.com/google/uuid v1.6.0
	github.com/tklauser/go-sysconf v0.4.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/google/go-cmp v0.5.9 // indirect
	github.com/kr/pretty v0.3.1 // indirect
	github.com/kr/text v0.2.0 // indirect
	github.com/rogpeppe/go-internal v1.9.0 // indirect
	github.com/tklauser/numcpus v0.12.0 // indirect
)
