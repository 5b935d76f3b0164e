package cli

import (
	"errors"
	"testing"

	"github.com/turnwarden/turnwarden/service/doctor"
)

func TestDoctorExitCodes(t *testing.T) {
	for severity, want := range map[doctor.Severity]int{doctor.Warning: 3, doctor.Error: 4} {
		e, ok := errors.AsType[*ExitError](diagnosis{Worst: severity}.outcome())
		if !ok || e.Code != want {
			t.Errorf("%s: %+v", severity, e)
		}
	}
	if err := (diagnosis{Worst: doctor.Fine}).outcome(); err != nil {
		t.Error(err)
	}
}
