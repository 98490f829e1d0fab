module example.com/consumer

go 1.26.0

require github.com/rollcall-go/rollcall v0.0.0

require (
	github.com/google/uuid v1.6.0 // indirect
	github.com/tklauser/go-sysconf v0.4.0 // indirect
	github.com/tklauser/numcpus v0.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/rollcall-go/rollcall => ../..
