package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// effects returns what an engine would say: documents, alerts, and rejections of some batches.
func effects(n int) ([]store.OutboxRecord, map[engine.Seq]engine.Reason) {
	rng := rand.New(rand.NewPCG(11, 0))
	reasons := map[engine.Seq]engine.Reason{}
	var list []store.OutboxRecord
	seq := engine.Seq(1)
	for i := range n {
		rec := store.OutboxRecord{Seq: seq}
		if i%3 == 0 {
			rec.Kind = store.RejectionsRecord
			var rejected []engine.Rejection
			for range 1 + rng.IntN(5) {
				seq += 1 + engine.Seq(rng.IntN(3))
				r := engine.Rejection{Seq: seq, Reason: 1 + engine.Reason(rng.IntN(10))}
				reasons[r.Seq] = r.Reason
				rejected = append(rejected, r)
			}
			rec.Body = store.AppendRejections(nil, rejected)
			seq++
		} else {
			rec.Kind = store.DocumentRecord
			rec.Key = fmt.Sprintf("acme/main/2026-%02d/%d", i%12+1, i)
			rec.Account = "acme"
			if i%4 == 1 {
				rec.Kind = store.AlertRecord
			}
			rec.Body = bytes.Repeat([]byte{byte(i)}, 10+rng.IntN(100))
			seq += engine.Seq(i % 2) // several effects of one entry
		}
		list = append(list, rec)
	}
	return list, reasons
}

func readOutbox(o *store.Outbox) ([]store.OutboxRecord, error) {
	r := o.Read(0)
	defer r.Close()
	var list []store.OutboxRecord
	for {
		rec, pos, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		if pos != int64(len(list)) {
			return list, fmt.Errorf("record %d has position %d", len(list), pos)
		}
		list = append(list, rec)
	}
}

func sameRecord(a, b store.OutboxRecord) bool {
	return a.Seq == b.Seq && a.Kind == b.Kind && a.Key == b.Key && a.Account == b.Account &&
		bytes.Equal(a.Body, b.Body)
}

// writeOutbox puts effects and syncs every few; it returns how many a Sync returned for.
func writeOutbox(fsys store.FS, list []store.OutboxRecord) (synced int, created bool, err error) {
	d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
	if err != nil {
		return 0, false, err
	}
	o, err := d.OpenOutbox()
	if err != nil {
		return 0, true, err
	}
	o.SetRoll(600)
	for i, rec := range list {
		if _, err := o.Put(rec); err != nil {
			return synced, true, err
		}
		if i%4 == 3 {
			if err := o.Sync(); err != nil {
				return synced, true, err
			}
			synced = i + 1
		}
	}
	if err := o.Close(); err != nil {
		return synced, true, err
	}
	return len(list), true, nil
}

// Whatever operation is the last before a power cut: what Sync returned for is there, the rest is
// a prefix, and applying the entries again gives the same outbox.
func TestOutboxCrashes(t *testing.T) {
	list, _ := effects(30)
	whole := fixtures.NewSimFS()
	if _, _, err := writeOutbox(whole, list); err != nil {
		t.Fatal(err)
	}
	points, segments := 0, 0
	for _, name := range whole.Files() {
		if strings.HasPrefix(name, "outbox/") {
			segments++
		}
	}
	for op := 1; op <= whole.Ops(); op++ {
		for tear := fixtures.Tear(0); tear < fixtures.NumTears; tear++ {
			fsys := fixtures.NewSimFS()
			fsys.CrashAt(op)
			synced, created, _ := writeOutbox(fsys, list)
			if !created {
				continue
			}
			points++
			fsys = fsys.Crash(tear, rand.New(rand.NewPCG(uint64(op), uint64(tear))))
			place := fmt.Sprintf("crash after operation %d (%s), tear %s", op,
				whole.Trace()[op-1], tear)
			recoverOutbox(t, place, fsys, list, synced, engine.Seq(op%40))
		}
	}
	t.Logf("%d crash points, %d operations, %d segments", points, whole.Ops(), segments)
}

func recoverOutbox(
	t *testing.T, place string, fsys store.FS, list []store.OutboxRecord, synced int,
	from engine.Seq,
) {
	t.Helper()
	d, err := store.Open(fsys, anyDisk)
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	o, err := d.OpenOutbox()
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	got, err := readOutbox(o)
	if err != nil || len(got) < synced {
		t.Fatalf("%s: %d records, %d were synced: %v", place, len(got), synced, err)
	}
	// A checkpoint is at or before what the outbox holds.
	if len(got) == 0 {
		from = 0
	} else {
		from = min(from, got[len(got)-1].Seq)
	}
	if err := o.Resume(from); err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	for i, rec := range list {
		if rec.Seq < from {
			continue
		}
		if pos, err := o.Put(rec); err != nil || pos != int64(i) {
			t.Fatalf("%s: put %d from seq %d: position %d, %v", place, i, from, pos, err)
		}
	}
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	got, err = readOutbox(o)
	if err != nil || len(got) != len(list) || o.Unmatched() != 0 {
		t.Fatalf("%s: %d records, %d to compare: %v", place, len(got), o.Unmatched(), err)
	}
	for i := range got {
		if !sameRecord(got[i], list[i]) {
			t.Fatalf("%s: record %d is %+v, want %+v", place, i, got[i], list[i])
		}
	}
}

// Documents and rejections are found again, by the writer and beside it, at every size.
func TestOutboxFinds(t *testing.T) {
	list, reasons := effects(1500)
	fsys := fixtures.NewSimFS()
	d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.OpenOutbox()
	if err != nil {
		t.Fatal(err)
	}
	o.SetRoll(20_000)
	follower := o.Read(0)
	followed := 0
	for i, rec := range list {
		if _, err := o.Append(rec); err != nil {
			t.Fatal(err)
		}
		if _, _, found, _ := o.Find(rec.Key); found {
			t.Fatalf("%q is found before it is durable", rec.Key)
		}
		if i%7 == 6 || i == len(list)-1 {
			if err := o.Sync(); err != nil {
				t.Fatal(err)
			}
			for ; followed <= i; followed++ {
				got, pos, err := follower.Next()
				if err != nil || pos != int64(followed) || !sameRecord(got, list[followed]) {
					t.Fatalf("followed %d: position %d, %v", followed, pos, err)
				}
			}
			if _, _, err := follower.Next(); err != io.EOF {
				t.Fatalf("at the end: %v", err)
			}
		}
	}
	side, err := store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	beside, err := side.OpenOutbox()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*store.Outbox{"writer": o, "beside": beside} {
		if o.Durable() != int64(len(list)) {
			t.Fatalf("%s: %d records are durable", name, o.Durable())
		}
		for i, rec := range list {
			if rec.Kind == store.AlertRecord {
				if _, _, found, err := o.Find(rec.Key); found || err != nil {
					t.Fatalf("%s: the alert %q is found as a document, %v", name, rec.Key, err)
				}
			}
			if rec.Kind != store.DocumentRecord {
				continue
			}
			got, pos, found, err := o.Find(rec.Key)
			if err != nil || !found || pos != int64(i) || !sameRecord(got, rec) {
				t.Fatalf("%s: find %q: %d, %v, %v", name, rec.Key, pos, found, err)
			}
		}
		if _, _, found, err := o.Find("acme/other"); found || err != nil {
			t.Fatalf("%s: found what is not there: %v", name, err)
		}
		for seq := engine.Seq(0); seq <= list[len(list)-1].Seq+3; seq++ {
			reason, found, err := o.RejectionOf(seq)
			if want, rejected := reasons[seq]; err != nil || found != rejected || reason != want {
				t.Fatalf("%s: seq %d: %v, %v, %v, want %v", name, seq, reason, found, err, want)
			}
		}
	}
	t.Logf("%d records, %d rejections", len(list), len(reasons))
}

// A close has many documents of one Seq: Resume begins at the first of them.
func TestOutboxResumesAtTheFirst(t *testing.T) {
	fsys := fixtures.NewSimFS()
	var list []store.OutboxRecord
	for i := range 900 {
		list = append(list, store.OutboxRecord{Seq: engine.Seq(10 * (1 + i/300)),
			Kind: store.DocumentRecord, Key: fmt.Sprint(i), Body: []byte("document")})
	}
	if _, _, err := writeOutbox(fsys, list); err != nil {
		t.Fatal(err)
	}
	d, err := store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[engine.Seq]int64{
		0: 900, 10: 900, 11: 600, 19: 600, 20: 600, 21: 300, 30: 300, 31: 0,
	} {
		o, err := d.OpenOutbox()
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Resume(seq); err != nil || o.Unmatched() != want {
			t.Fatalf("resume at %d: %d records to compare, want %d, %v", seq, o.Unmatched(), want, err)
		}
	}
}

// What the engine says now must be what the outbox holds, in every part of a record.
func TestOutboxMismatch(t *testing.T) {
	list, _ := effects(9)
	edits := map[string]func(*store.OutboxRecord){
		"seq":     func(r *store.OutboxRecord) { r.Seq++ },
		"kind":    func(r *store.OutboxRecord) { r.Kind++ },
		"key":     func(r *store.OutboxRecord) { r.Key += "x" },
		"account": func(r *store.OutboxRecord) { r.Account += "x" },
		"longer":  func(r *store.OutboxRecord) { r.Body = append(bytes.Clone(r.Body), 0) },
		"byte": func(r *store.OutboxRecord) {
			r.Body = bytes.Clone(r.Body)
			r.Body[len(r.Body)-1] ^= 1
		},
	}
	for name, edit := range edits {
		fsys := fixtures.NewSimFS()
		if _, _, err := writeOutbox(fsys, list); err != nil {
			t.Fatal(err)
		}
		d, err := store.OpenReadOnly(fsys)
		if err != nil {
			t.Fatal(err)
		}
		o, err := d.OpenOutbox()
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Resume(list[4].Seq); err != nil {
			t.Fatal(err)
		}
		if left := o.Unmatched(); left != 5 && left != 6 {
			t.Fatalf("%d records to compare", left)
		}
		var mismatch *store.MismatchError
		for i := len(list) - int(o.Unmatched()); i < 7; i++ {
			if _, err := o.Put(list[i]); err != nil {
				t.Fatal(err)
			}
		}
		changed := list[7]
		edit(&changed)
		_, err = o.Put(changed)
		if !errors.As(err, &mismatch) || mismatch.Position != 7 || mismatch.Key != list[7].Key {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// Any flipped bit of an outbox that was closed is refused with path and offset, or changes
// nothing (it lies in the last promise).
func TestOutboxBitFlips(t *testing.T) {
	list, _ := effects(12)
	fsys := fixtures.NewSimFS()
	if _, _, err := writeOutbox(fsys, list); err != nil {
		t.Fatal(err)
	}
	refused, harmless := 0, 0
	for _, name := range fsys.Files() {
		if !strings.HasPrefix(name, "outbox/") {
			continue
		}
		good := fsys.Bytes(name)
		for at := range good {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			copied := fsys.Clone()
			copied.SetBytes(name, bad)
			d, err := store.Open(copied, anyDisk)
			if err != nil {
				t.Fatal(err)
			}
			o, err := d.OpenOutbox()
			var corrupt *store.CorruptError
			var version *store.VersionError
			switch {
			case errors.As(err, &corrupt) && corrupt.Path == name, errors.As(err, &version):
				refused++
			case err != nil:
				t.Fatalf("byte %d of %s: %v", at, name, err)
			default:
				got, err := readOutbox(o)
				if err != nil || len(got) != len(list) {
					t.Fatalf("byte %d of %s: %d records, %v", at, name, len(got), err)
				}
				harmless++
			}
		}
	}
	t.Logf("%d flips refused, %d harmless", refused, harmless)
	if harmless > 40 {
		t.Error("more is harmless than the last promise")
	}
}

// Records of a kind that only a newer billctl knows are refused as such, wherever they are read.
func TestOutboxOfANewerProgram(t *testing.T) {
	list, _ := effects(9)
	list[5].Kind = store.AlertRecord + 1
	fsys := fixtures.NewSimFS()
	if _, _, err := writeOutbox(fsys, list); err != nil {
		t.Fatal(err)
	}
	writer, err := store.Open(fsys.Clone(), anyDisk)
	if err != nil {
		t.Fatal(err)
	}
	beside, err := store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*store.Dir{"writer": writer, "beside": beside} {
		_, err := d.OpenOutbox()
		var version *store.VersionError
		if !errors.As(err, &version) || version.Found != 4 || version.Known != 3 ||
			!strings.Contains(err.Error(), "record 5") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A failed write sticks: nothing is taken after it.
func TestOutboxDiskFaults(t *testing.T) {
	list, _ := effects(12)
	clean := fixtures.NewSimFS()
	if _, _, err := writeOutbox(clean, nil); err != nil {
		t.Fatal(err)
	}
	whole := fixtures.NewSimFS()
	if _, _, err := writeOutbox(whole, list); err != nil {
		t.Fatal(err)
	}
	fault := errors.New("input/output error")
	for op := clean.Ops(); op <= whole.Ops(); op++ {
		fsys := fixtures.NewSimFS()
		fsys.FailAt(op, fault)
		synced, _, err := writeOutbox(fsys, list)
		if !errors.Is(err, fault) {
			t.Fatalf("operation %d failed, the outbox says %v", op, err)
		}
		recoverOutbox(t, fmt.Sprintf("operation %d failed", op), fsys.Restart(), list, synced, 0)
	}
}
