package live

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// drain reads a Stdin to its end, and checks that the offsets have no hole but the one allowed.
func drain(t *testing.T, s *Stdin) (data string, kinds []NoticeKind, err error) {
	t.Helper()
	var end int64
	for {
		c, st, err := s.Next(context.Background())
		for _, n := range st.Notices {
			kinds = append(kinds, n.Kind)
		}
		if err != nil || st.EOF {
			return data, kinds, err
		}
		if c.Partition != "stdin" || c.Ident != "" || c.Offset != end && len(kinds) == 0 {
			t.Errorf("chunk of %s at %d after %d", c.Partition, c.Offset, end)
		}
		end = c.Offset + int64(len(c.Data))
		if !c.Last && !strings.HasSuffix(string(c.Data), "\n") {
			t.Error("a chunk without a line's end")
		}
		data += string(c.Data)
		s.Recycle(c)
	}
}

func TestStdin(t *testing.T) {
	big := strings.Repeat("x", 3<<20) + "\n"
	over := strings.Repeat("y", maxLine+(3<<20)) + "\n"
	exact := strings.Repeat("z", maxLine-1) + "\n"
	for _, tt := range []struct {
		name, in, want string
		gaps           int
	}{
		{"nothing", "", "", 0},
		{"lines", "a\nb\n", "a\nb\n", 0},
		{"no end", "a\nb", "a\nb", 0},
		{"many", strings.Repeat("0123456789\n", 100_000), strings.Repeat("0123456789\n", 100_000), 0},
		{"long", "a\n" + big + "b\n", "a\n" + big + "b\n", 0},
		{"longest", exact + "b\n", exact + "b\n", 0},
		{"overlong", "a\n" + over + "b\n", "a\n" + over[:cutLine] + "\n" + "b\n", 1},
		{"overlong to the end", over[:len(over)-1], over[:cutLine] + "\n", 1},
	} {
		for _, r := range []io.Reader{
			strings.NewReader(tt.in), iotest.HalfReader(strings.NewReader(tt.in)),
			iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			got, kinds, err := drain(t, NewStdin(r))
			if got != tt.want || len(kinds) != tt.gaps || err != nil {
				t.Errorf("%s: got %d bytes, want %d; notices %v; %v", tt.name, len(got),
					len(tt.want), kinds, err)
			}
		}
	}
}

func TestStdinError(t *testing.T) {
	broken := errors.New("broken pipe")
	s := NewStdin(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	for range 2 {
		got, _, err := drain(t, s)
		if !errors.Is(err, broken) || got != "a\n" && got != "" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestStdinWaits(t *testing.T) {
	r, w := io.Pipe()
	s := NewStdin(r)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	go func() {
		_, err := io.WriteString(w, "a\n{")
		if err = errors.Join(err, w.Close()); err != nil {
			t.Error(err)
		}
	}()
	if got, _, err := drain(t, s); got != "a\n{" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
