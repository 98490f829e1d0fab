package lifecycle_test

import (
	"testing"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m, nil) }
