package engine

// pageRows balances the copy of a page after a pin against the number of pages.
const pageRows = 128

// vec is a growing array in pages that can be pinned: pin returns an immutable picture at once, and
// the first write to a page after it clones the page. Rows must not be changed through pointers
// that a row holds: slices and maps inside a row are replaced, never written to.
type vec[T any] struct {
	pages  []*page[T]
	n      int32
	epoch  uint32
	shared bool // pages is also the slice of a pinned picture
}

type page[T any] struct {
	epoch uint32
	rows  [pageRows]T
}

func (v *vec[T]) len() int32 { return v.n }

// at returns a row to be read.
func (v *vec[T]) at(i int32) *T { return &v.pages[i/pageRows].rows[i%pageRows] }

// mut returns a row to be written, valid until the next pin.
func (v *vec[T]) mut(i int32) *T {
	p := v.pages[i/pageRows]
	if p.epoch != v.epoch {
		p = v.clone(i / pageRows)
	}
	return &p.rows[i%pageRows]
}

func (v *vec[T]) clone(i int32) *page[T] {
	v.own()
	p := &page[T]{epoch: v.epoch, rows: v.pages[i].rows}
	v.pages[i] = p
	return p
}

// own makes the list of pages ours alone.
func (v *vec[T]) own() {
	if v.shared {
		v.pages = append(make([]*page[T], 0, len(v.pages)+len(v.pages)/8+1), v.pages...)
		v.shared = false
	}
}

// add appends a row and returns its index.
func (v *vec[T]) add(x T) int32 {
	if v.n%pageRows == 0 {
		v.own()
		v.pages = append(v.pages, &page[T]{epoch: v.epoch})
	}
	i := v.n
	v.n++
	*v.mut(i) = x
	return i
}

// pin returns an immutable picture of the rows as they are.
func (v *vec[T]) pin() vec[T] {
	v.shared = true
	v.epoch++
	return vec[T]{pages: v.pages, n: v.n, shared: true}
}
