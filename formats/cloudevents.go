package formats

import (
	"fmt"
	"hash/maphash"

	"billctl/engine"
)

// attribute is a member of an event that CloudEvents names.
type attribute uint8

const (
	extension attribute = iota // every other
	attrID
	attrSource
	attrType
	attrSubject
	attrTime
	attrVersion
	attrData
	attrBase64
)

func attributeOf(name string) attribute {
	switch name {
	case "id":
		return attrID
	case "source":
		return attrSource
	case "type":
		return attrType
	case "subject":
		return attrSubject
	case "time":
		return attrTime
	case "specversion":
		return attrVersion
	case "data":
		return attrData
	case "data_base64":
		return attrBase64
	}
	return extension
}

// cloudEvent reads the line as a CloudEvent (docs/formats/events.md).
func (p *lineParser) cloudEvent() bool {
	if p.space() != '{' {
		return p.expected("an event, which is a JSON object,")
	}
	p.i++
	if p.space() == '}' {
		p.i++
		return p.finish() && p.complete()
	}
	stamp := p.paths.stamp()
	for more := true; more; {
		node, c, ok := p.member(p.paths.top, stamp)
		if !ok || !p.attribute(node, c) {
			return false
		}
		if more, ok = p.next('}'); !ok {
			return false
		}
	}
	return p.finish() && p.complete()
}

// attribute reads the value of a member of the event. null is how CloudEvents writes a member
// that is not set.
func (p *lineParser) attribute(node *pathNode, c byte) bool {
	if c == 'n' {
		return p.word("null")
	}
	switch node.attr {
	case extension:
		return p.keep(node, node, c, 1)
	case attrData:
		return p.eventData(node, c)
	case attrBase64:
		return p.fail("data_base64 instead of data as a JSON object")
	}
	at := p.i
	if c != '"' {
		return p.fail(fmt.Sprintf("%s is not a string", node.name))
	}
	p.i++
	s, ok := p.str()
	if !ok {
		return false
	}
	switch node.attr {
	case attrTime:
		return p.eventTime(s, at)
	case attrVersion:
		if string(s) != "1.0" {
			return p.failAt(at, fmt.Sprintf("specversion %s is not \"1.0\"", quoted(string(s))))
		}
		return true
	}
	if len(s) == 0 {
		return p.failAt(at, node.name+" is empty")
	}
	if len(s) > engine.MaxName {
		return p.failAt(at, fmt.Sprintf("%s is longer than %d bytes", node.name, engine.MaxName))
	}
	switch node.attr {
	case attrID:
		p.row.id = s
	case attrSource:
		p.row.source = s
	case attrType:
		p.row.kind = s
	case attrSubject:
		p.row.subject = s
	}
	return true
}

func (p *lineParser) eventTime(s []byte, at int) bool {
	t, fault := p.clock.rfc3339(s)
	if fault != "" {
		return p.failAt(at, fault)
	}
	p.row.time, p.row.timed = t, true
	return true
}

func (p *lineParser) eventData(node *pathNode, c byte) bool {
	if c != '{' {
		return p.fail("data is not an object")
	}
	p.i++
	if p.space() == '}' {
		p.i++
		return true
	}
	return p.properties(node, node, 1)
}

// complete checks that the row has what every event needs.
func (p *lineParser) complete() bool {
	switch r := p.row; {
	case r.id == nil:
		p.fault = "event has no id"
	case r.source == nil:
		p.fault = "event has no source"
	case r.kind == nil:
		p.fault = "event has no type"
	case r.subject == nil:
		p.fault = "event has no subject"
	default:
		return true
	}
	return false
}

// pathTable holds the paths that were met, as a tree. It resolves a name without hashing when it
// follows the name that it followed the last time, and it finds duplicates by stamps.
type pathTable struct {
	owner   *Decoder // whose mapping the nodes know
	top     *pathNode
	data    *pathNode // "data"
	seed    maphash.Seed
	slots   []*pathNode
	count   int
	bytes   int
	last    *pathNode // the line's last name; top before the first
	stamps  uint64
	renewed uint64 // how often the table was reset
}

// pathNode is a member's name at one place in the tree.
type pathNode struct {
	parent *pathNode
	name   string    // after its escapes are resolved
	path   string    // escaped names joined by points; "" if long
	next   *pathNode // the name that came after it the last time
	plain  bool      // the name is written as it is, without escapes
	long   bool      // the path is longer than engine.MaxName
	attr   attribute
	stamp  uint64 // the object in which the name was met last
	hash   uint64
	cols   [engine.BoolColumn + 1]*column
	array  *pathNode // parent of the names in the elements of an array at this path
	takes  *takes    // what a mapping takes from here
	known  bool      // takes was looked up
}

// What a path table keeps from line to line is forgotten when it grows beyond these.
const (
	keptPaths     = 4096
	keptPathBytes = 1 << 20
)

func (t *pathTable) reset(owner *Decoder) {
	t.owner = owner
	if t.slots == nil {
		t.seed = maphash.MakeSeed()
	}
	t.slots = make([]*pathNode, 64)
	t.count, t.bytes = 0, 0
	t.renewed++
	t.top = &pathNode{}
	t.last = t.top
	t.data = t.child(t.top, []byte("data"))
}

// begin is called before each line.
func (t *pathTable) begin() {
	t.last = t.top
	if t.count > keptPaths || t.bytes > keptPathBytes {
		t.reset(t.owner)
	}
}

// stamp returns a number for one object of one line.
func (t *pathTable) stamp() uint64 {
	t.stamps++
	return t.stamps
}

// guess returns the node of the name at buf[i:], after its quote, if it is the one that came after
// the line's last name the last time.
func (t *pathTable) guess(parent *pathNode, buf []byte, i int) *pathNode {
	g := t.last.next
	if g == nil {
		return nil
	}
	end := i + len(g.name)
	if g.parent != parent || !g.plain || end >= len(buf) || buf[end] != '"' {
		return nil
	}
	if string(buf[i:end]) != g.name {
		return nil
	}
	return g
}

// met notes the node as the next name of the line.
func (t *pathTable) met(n *pathNode) {
	t.last.next = n
	t.last = n
}

// child returns the node of a name below a parent.
func (t *pathTable) child(parent *pathNode, name []byte) *pathNode {
	if t.count*2 >= len(t.slots) {
		t.grow()
	}
	h := maphash.Bytes(t.seed, name) ^ parent.hash*0x9e3779b97f4a7c15
	mask := uint64(len(t.slots) - 1)
	i := h & mask
	for ; t.slots[i] != nil; i = (i + 1) & mask {
		if n := t.slots[i]; n.hash == h && n.parent == parent && n.name == string(name) {
			return n
		}
	}
	n := &pathNode{parent: parent, name: string(name), hash: h, plain: isPlain(name)}
	n.path, n.long = t.join(parent, n.name)
	if parent == t.top {
		n.attr = attributeOf(n.name)
	}
	t.slots[i] = n
	t.count++
	t.bytes += len(name)
	return n
}

// join returns the path of a name below its parent.
func (t *pathTable) join(parent *pathNode, name string) (path string, long bool) {
	if parent.long || len(parent.path)+len(name) > engine.MaxName {
		return "", true
	}
	path = escapeName(name)
	if parent != t.top {
		path = parent.path + "." + path
	}
	if len(path) > engine.MaxName {
		return "", true
	}
	return path, false
}

// element returns the parent of the names in the elements of an array. None of them is a path.
func (t *pathTable) element(n *pathNode) *pathNode {
	if n.array == nil {
		n.array = &pathNode{parent: n, long: true, hash: n.hash + 1}
		t.count++
	}
	return n.array
}

func (t *pathTable) grow() {
	old := t.slots
	t.slots = make([]*pathNode, 2*len(old))
	mask := uint64(len(t.slots) - 1)
	for _, n := range old {
		if n == nil {
			continue
		}
		i := n.hash & mask
		for t.slots[i] != nil {
			i = (i + 1) & mask
		}
		t.slots[i] = n
	}
}

// pathSeed is the seed of the path's part in a row's digest.
func (n *pathNode) pathSeed() uint64 { return engine.PathSeed(n.path) }

// isPlain reports whether a name may be compared with the bytes of a line as it is.
func isPlain(name []byte) bool {
	for _, c := range name {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// escapeName writes '.' and '\' of a member's name with a '\' before them.
func escapeName(name string) string {
	var out []byte
	for i := range len(name) {
		if name[i] == '.' || name[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, name[i])
	}
	return string(out)
}
