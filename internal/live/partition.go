package live

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sizes of what identifies a partition.
const (
	prefixSize = 4096     // bytes of content at most that a name is made of
	tailSize   = 4096     // bytes before the position that must stay what they were
	headSize   = 64 << 10 // a longer first line is not kept as Chunk.Head
)

// digest is the first half of a SHA-256: it stands in the journal, so it never changes.
type digest [16]byte

func digestOf(b []byte) (d digest) {
	sum := sha256.Sum256(b)
	copy(d[:], sum[:])
	return d
}

// partition is content that is read once, in order, wherever it lies.
//
// Its name is "<path>#<n>:<digest>": the path where it was first seen, and the digest of its first
// n bytes. Where a former partition has that name already, ".2", ".3", … follows: a file that was
// truncated and begins as before, as CSV files do, is a new partition all the same.
//
// The n bytes are bytes that have been handed out, so they never change while the file grows: for
// a followed file the first run of lines, for a finite one what it holds, 4,096 bytes at most. A
// first line that is no JSON object may be a header that many files share: a followed file gets
// its name with its second line, which loses no time, for a header bills nothing.
type partition struct {
	name   string
	path   string
	n      int
	digest digest
	again  int // 1, or the number behind the digest
	offset int64

	tail    []byte // bytes before offset, while a file holds the partition
	tailLen int    // when none does: their number and digest; 0 if only the journal knew it
	tailSum digest
	head    []byte // first line, if it has one of up to headSize
	listed  bool   // said to be lost
}

// parsePartition reads a partition's name back.
func parsePartition(name string) (*partition, bool) {
	hash := strings.LastIndexByte(name, '#')
	if hash < 0 {
		return nil, false
	}
	p := &partition{name: name, path: name[:hash], again: 1}
	n, sum, ok := strings.Cut(name[hash+1:], ":")
	if !ok {
		return nil, false
	}
	var err error
	if p.n, err = strconv.Atoi(n); err != nil || p.n < 1 || p.n > prefixSize {
		return nil, false
	}
	if s, again, ok := strings.Cut(sum, "."); ok {
		sum = s
		if p.again, err = strconv.Atoi(again); err != nil || p.again < 2 {
			return nil, false
		}
	}
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != len(p.digest) {
		return nil, false
	}
	copy(p.digest[:], b)
	return p, true
}

// ident is the partition's content without its path: what ids of rows without ids are made of.
func (p *partition) ident() string {
	return strconv.Itoa(p.n) + ":" + hex.EncodeToString(p.digest[:])
}

// begins reports whether head begins as the partition does.
func (p *partition) begins(head []byte) bool {
	return len(head) >= p.n && digestOf(head[:p.n]) == p.digest
}

// advance moves the position behind b, the next bytes of the content.
func (p *partition) advance(b []byte) {
	if p.offset == 0 && p.head == nil {
		p.head = firstLine(b)
	}
	p.offset += int64(len(b))
	if len(b) >= tailSize {
		p.tail = append(p.tail[:0], b[len(b)-tailSize:]...)
		return
	}
	keep := min(len(p.tail), tailSize-len(b))
	p.tail = append(p.tail[:copy(p.tail, p.tail[len(p.tail)-keep:])], b...)
}

// named makes the partition of a file from the first bytes of its content.
func (t *Tail) named(f *file, prefix []byte) *partition {
	prefix = prefix[:min(len(prefix), prefixSize)]
	p := &partition{path: f.name, n: len(prefix), digest: digestOf(prefix), again: 1}
	p.name = p.path + "#" + p.ident()
	for t.names[p.name] {
		p.again++
		p.name = p.path + "#" + p.ident() + "." + strconv.Itoa(p.again)
	}
	t.names[p.name] = true
	return p
}

// restart begins f anew, because what was read of it is not there any more. Its partition waits
// for a file that has it, as the copy has that logrotate's copytruncate makes.
func (t *Tail) restart(f *file) {
	n := Notice{
		Kind: Truncated, Path: f.path, Partition: f.part.name, Offset: f.part.offset,
		Text: fmt.Sprintf("%s was truncated or overwritten behind byte %d", f.path, f.part.offset),
	}
	if unread := f.peak - f.part.offset; unread > 0 {
		n.Text += fmt.Sprintf("; %d bytes that were not read are lost unless a copy turns up",
			unread)
	}
	t.notices = append(t.notices, n)
	t.loosen(f)
	f.scanned, f.peak, f.settled, f.tried = 0, f.size, -1, -1
	f.skip, f.skipped = false, 0
	t.look = true
}

// loosen takes the partition off a file and keeps what finds it again.
func (t *Tail) loosen(f *file) {
	p := f.part
	if p == nil {
		return
	}
	p.tailLen, p.tailSum, p.tail, p.head = len(p.tail), digestOf(p.tail), nil, nil
	p.listed = true
	t.loose = append(t.loose, p)
	f.part = nil
}

// match is a file that may hold a partition.
type match struct {
	p *partition
	f *file
}

// adopt finds for every file without a partition whether it goes on with one we know.
func (t *Tail) adopt(now time.Time) error {
	var fresh []*file
	waiting := false
	for _, f := range t.files {
		if f.part != nil || f.size <= 0 || f.stuck || f.done {
			continue
		}
		f.tried = f.size
		ready, err := t.prepare(f, now)
		if err != nil {
			if err = t.fail(f.path, err); err != nil {
				return err
			}
			f.stuck = true
		}
		if ready {
			fresh = append(fresh, f)
		} else {
			waiting = true
		}
	}
	taken, err := t.matches(fresh)
	if err != nil {
		return err
	}
	for _, f := range fresh {
		ok, err := t.resume(f, taken[f])
		switch {
		case err != nil:
			if err = t.fail(f.path, err); err != nil {
				return err
			}
			f.stuck = true
		case ok:
		case t.copied(f, now):
			waiting = true
		default:
			f.settled = f.size
		}
	}
	if !waiting && !t.blind {
		t.listLost()
	}
	return nil
}

// prepare reads the first bytes of a file's content. A followed compressed file is not ready
// before it stands still.
func (t *Tail) prepare(f *file, now time.Time) (bool, error) {
	kept := f.h != nil
	if err := f.use(t.open); err != nil {
		return false, err
	}
	b := make([]byte, prefixSize)
	n, err := f.h.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read %s: %w", f.path, err)
	}
	f.prefix, f.packed = b[:n], isPacked(b[:n])
	if f.packed {
		if !t.opts.UntilEOF && now.Sub(f.changed) < t.opts.Quiet {
			return false, nil
		}
		f.carryOn(prefixSize)
		f.prefix = slices.Clone(f.carry)
		f.drop()
	}
	if !kept {
		t.ignore(f.close())
	}
	return f.packed || n > 0, nil
}

// matches pairs files with the loose partitions that they hold and takes these from the loose
// ones. Surest first: the bytes before the position are known to be the same, the path is the
// same, the partition is the newest of its name.
func (t *Tail) matches(fresh []*file) (map[*file]*partition, error) {
	var pairs []match
	for _, f := range fresh {
		for _, p := range t.loose {
			ok, err := t.fits(p, f)
			if err != nil {
				return nil, err
			}
			if ok {
				pairs = append(pairs, match{p, f})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b match) int {
		return cmp.Or(
			-cmp.Compare(a.p.tailLen, b.p.tailLen),
			-compareBool(a.p.path == t.rel(a.f.path), b.p.path == t.rel(b.f.path)),
			-cmp.Compare(a.p.n, b.p.n),
			-cmp.Compare(a.p.again, b.p.again),
			strings.Compare(a.p.name, b.p.name),
			strings.Compare(a.f.path, b.f.path),
		)
	})
	held, taken := map[*partition]*file{}, map[*file]*partition{}
	for _, m := range pairs {
		if held[m.p] == nil && taken[m.f] == nil {
			held[m.p], taken[m.f] = m.f, m.p
		}
	}
	doubted := map[*partition]bool{}
	for _, m := range pairs {
		if m.p.tailLen > 0 || held[m.p] == nil || taken[m.f] != nil || doubted[m.p] {
			continue
		}
		doubted[m.p] = true
		t.notices = append(t.notices, Notice{
			Kind: Doubt, Path: m.f.path, Partition: m.p.name, Offset: m.p.offset,
			Text: fmt.Sprintf("%s and %s begin as partition %s does: both are read from the "+
				"start, ids find the duplicates", held[m.p].path, m.f.path, m.p.name),
		})
	}
	maps.DeleteFunc(taken, func(_ *file, p *partition) bool { return doubted[p] })
	t.loose = slices.DeleteFunc(t.loose, func(p *partition) bool { return held[p] != nil })
	return taken, nil
}

// fits reports whether f may hold p. A compressed file is only compared by its first bytes here.
func (t *Tail) fits(p *partition, f *file) (bool, error) {
	if !p.begins(f.prefix) {
		return false, nil
	}
	if !distinct(f.prefix[:p.n]) && (p.path != t.rel(f.path) || !t.opts.UntilEOF) {
		return false, nil // a header alone: any file may have it
	}
	if f.packed {
		return true, nil
	}
	if f.size < p.offset || p.tailLen == 0 {
		return f.size >= p.offset, nil
	}
	if err := f.use(t.open); err != nil {
		return false, err
	}
	return f.holds(p.offset, p.tailLen, p.tailSum)
}

// copied reports whether f must wait because it begins as a partition does that another file
// holds. It may be a copy whose original is about to be truncated: that shows within Quiet. Or it
// is the compressed form of a file that is gone: once that was read, f goes on with it.
func (t *Tail) copied(f *file, now time.Time) bool {
	if t.opts.UntilEOF {
		return false
	}
	young := now.Sub(f.seen) < t.opts.Quiet
	return slices.ContainsFunc(t.files, func(g *file) bool {
		if g.part == nil { // seen in the same look
			return g != f && young && g.settled > 0 && g.settled == g.size &&
				alike(g.prefix, f.prefix)
		}
		return !g.packed && (young || f.packed && g.away) && g.part.begins(f.prefix)
	})
}

// alike reports whether one of two prefixes begins with the other, by more than a header.
func alike(a, b []byte) bool {
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n]) && distinct(a[:n])
}

// distinct reports whether a prefix is more than a header that many files may share.
func distinct(prefix []byte) bool {
	lines := bytes.Count(prefix, []byte{'\n'})
	return len(prefix) == prefixSize || lines > 1 || len(prefix) > 0 && prefix[0] == '{'
}

// resume goes on with p in f, if there is one and f holds it indeed.
func (t *Tail) resume(f *file, p *partition) (ok bool, err error) {
	if p == nil {
		return false, nil
	}
	defer func() {
		if !ok {
			p.tail = nil
			t.loose = append(t.loose, p)
		}
	}()
	if err := f.use(t.open); err != nil {
		return false, err
	}
	skip := p.offset - min(p.offset, tailSize)
	p.tail = make([]byte, p.offset-skip)
	if f.packed {
		err = f.forward(skip, p.tail)
		if errors.Is(err, io.EOF) || err == nil && p.tailLen > 0 && digestOf(p.tail) != p.tailSum {
			f.drop() // it only begins like p
			return false, nil
		}
		f.done = len(f.carry) == 0 && errors.Is(f.ended, io.EOF)
		p.head = firstLine(f.prefix)
	} else if p.head, err = f.firstLine(); err == nil {
		_, err = f.h.ReadAt(p.tail, skip)
	}
	if err != nil {
		return false, fmt.Errorf("go on with %s at byte %d: %w", f.path, p.offset, err)
	}
	f.part, f.scanned, f.prefix = p, p.offset, nil
	f.moved = f.moved || p.path != t.rel(f.path)
	f.skip = p.offset > 0 && p.tail[len(p.tail)-1] != '\n'
	p.listed = true
	return true, nil
}

// listLost says once, in one notice, which partitions of the journal no file holds. That is how it
// is after rotation.
func (t *Tail) listLost() {
	const most = 3
	var gone []*partition
	for _, p := range t.loose {
		if !p.listed {
			p.listed = true
			gone = append(gone, p)
		}
	}
	if len(gone) == 0 {
		return
	}
	text := fmt.Sprintf("%s: no file goes on with what was read up to byte %d; that is in the journal",
		gone[0].path, gone[0].offset)
	if len(gone) > 1 {
		var names []string
		for _, p := range gone[:min(most, len(gone))] {
			names = append(names, p.path)
		}
		text = fmt.Sprintf("%d files that were read before are gone, as after rotation: %s", len(gone),
			strings.Join(names, ", "))
		if len(gone) > most {
			text += ", ..."
		}
		text += "; what was read of them is in the journal"
	}
	p := gone[0]
	t.notices = append(t.notices, Notice{
		Kind: Lost, Path: p.path, Partition: p.name, Offset: p.offset, Text: text,
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
