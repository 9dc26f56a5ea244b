package formats

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a YAML file. The parser takes 200 bytes of memory for one of the file, and 7 s for
// 4 MiB of accounts; for keys of one mapping its time grows with the square of their number.
const (
	MaxFile    = 4 << 20 // bytes
	maxNesting = 32      // of lists and mappings within each other
	maxKeys    = 1000    // of one mapping
)

// nodeKind tells what a node is.
type nodeKind uint8

const (
	scalarNode nodeKind = iota
	listNode
	mapNode
	emptyNode // written without a value, or as null
)

// node is a value of a YAML or JSON file with its place. Scalars keep their text as written:
// nothing goes through a number of the library, where 0.10 would become 0.1.
type node struct {
	kind   nodeKind
	quoted bool   // a scalar in quotes, hence text
	text   string // of a scalar
	at     place
	keys   []*node // of a mapping, scalars
	items  []*node // of a list, or the values by keys
}

// what says a kind in words.
func (n *node) what() string {
	switch n.kind {
	case listNode:
		return "a list"
	case mapNode:
		return "a mapping"
	case emptyNode:
		return "empty"
	}
	return fmt.Sprintf("%q", clip(n.text))
}

// child returns the value of a key, or nil.
func (n *node) child(key string) *node {
	for i, k := range n.keys {
		if k.text == key {
			return n.items[i]
		}
	}
	return nil
}

// parseYAML returns the documents of a file; nil nodes for empty ones. Where it can't read the
// file it says so in faults and returns nothing.
func parseYAML(src *source, faults *faultList) []*node {
	tokens := tokenize(src)
	if !checkTokens(src, tokens, faults) {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		syntaxFault(src, err, faults)
		return nil
	}
	var docs []*node
	for _, doc := range file.Docs {
		b := &nodeBuilder{src: src, faults: faults}
		docs = append(docs, b.build(doc.Body))
		if b.failed {
			return nil
		}
	}
	return docs
}

// tokenize splits the text. A panic of the library is a text that it can't read.
func tokenize(src *source) (tokens token.Tokens) {
	defer func() {
		if p := recover(); p != nil {
			pos := &token.Position{Line: 1, Column: 1}
			tokens = token.Tokens{token.Invalid(fmt.Sprint(p), "", pos)}
		}
	}()
	return lexer.Tokenize(src.text)
}

// parseTokens builds the tree. A panic of the library is a text that it can't read.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read YAML: %v", p)
		}
	}()
	// Keys that come twice are found by the reader, which can name both places.
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// checkTokens refuses what the catalog's language has no use for, and depth that would exhaust
// the parser's stack, before the parser sees it.
func checkTokens(src *source, tokens token.Tokens, faults *faultList) bool {
	type block struct{ column, keys int }
	var blocks []block // that are open
	flow := 0
	for _, t := range tokens {
		message, hint := refusedToken(t)
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		}
		key := t.NextType() == token.MappingValueType
		if flow <= 0 && t.Type != token.CommentType {
			column := t.Position.Column
			for len(blocks) > 0 && blocks[len(blocks)-1].column > column {
				blocks = blocks[:len(blocks)-1]
			}
			if last := len(blocks) - 1; last >= 0 && blocks[last].column == column {
				if blocks[last].keys++; blocks[last].keys > maxKeys && key {
					message = fmt.Sprintf("more than %d keys in one mapping", maxKeys)
				}
			} else if t.Type == token.SequenceEntryType || key {
				blocks = append(blocks, block{column, 1})
			}
			if t.Type == token.SequenceEntryType {
				blocks[len(blocks)-1].keys = 0
			}
		}
		if flow+len(blocks) > maxNesting {
			message = fmt.Sprintf("more than %d lists and mappings within each other", maxNesting)
		}
		if message != "" {
			faults.add(placeOf(src, t), hint, "%s", message)
			return false
		}
	}
	return true
}

// refusedToken says why a token is refused, or "".
func refusedToken(t *token.Token) (message, hint string) {
	const again = "write the values out where they are used"
	switch t.Type {
	case token.AnchorType:
		return "anchors (&name) are not allowed", again
	case token.AliasType:
		return "aliases (*name) are not allowed", again
	case token.MergeKeyType:
		return "merge keys (<<) are not allowed", again
	case token.TagType:
		return "tags (!name) are not allowed", "leave the tag out"
	case token.MappingKeyType:
		return "keys marked by ? are not allowed", "write key: value"
	case token.DirectiveType:
		return "directives (%NAME) are not allowed", "leave the line out"
	case token.InvalidType:
		if strings.Contains(t.Error, "\t") {
			return "a tab can't indent a line", "indent with spaces"
		}
		return cleanSyntax(t.Error), ""
	}
	return "", ""
}

// syntaxFault reports an error of the parser at its place.
func syntaxFault(src *source, err error, faults *faultList) {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil {
		faults.add(placeOf(src, syntax.Token), "", "%s", cleanSyntax(syntax.Message))
		return
	}
	faults.add(place{src, 1, 1, 1}, "", "the file is not YAML: %s", cleanSyntax(err.Error()))
}

// cleanSyntax keeps the first line of the parser's message, in printable characters.
func cleanSyntax(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	return printable(clip(message))
}

// placeOf returns where a token stands. The library's columns count characters.
func placeOf(src *source, t *token.Token) place {
	text := strings.Trim(t.Origin, " \n\t")
	text, _, _ = strings.Cut(text, "\n")
	width := max(1, utf8.RuneCountInString(text))
	if t.Position == nil {
		return place{src, 1, 1, 1}
	}
	line, column := max(1, t.Position.Line), max(1, t.Position.Column)
	return place{src, int32(line), int32(column), int32(width)}
}

// nodeBuilder turns the library's tree into nodes.
type nodeBuilder struct {
	src    *source
	faults *faultList
	failed bool
}

func (b *nodeBuilder) build(n ast.Node) *node {
	if n == nil {
		return nil
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return b.mapping(n)
	case *ast.SequenceNode:
		out := &node{kind: listNode, at: placeOf(b.src, n.Start)}
		for _, v := range n.Values {
			if item := b.build(v); item != nil {
				out.items = append(out.items, item)
			}
		}
		return out
	case *ast.NullNode:
		return &node{kind: emptyNode, at: placeOf(b.src, n.Token)}
	case *ast.LiteralNode:
		return &node{quoted: true, text: n.Value.Value, at: placeOf(b.src, n.Start)}
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode,
		*ast.NanNode:
		t := n.GetToken()
		quoted := t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
		return &node{quoted: quoted, text: t.Value, at: placeOf(b.src, t)}
	case *ast.CommentGroupNode:
		return nil // a document of comments only
	}
	b.failed = true
	b.faults.add(placeOf(b.src, n.GetToken()), "", "this is not part of the language")
	return nil
}

func (b *nodeBuilder) mapping(n *ast.MappingNode) *node {
	out := &node{kind: mapNode}
	if n.Start != nil {
		out.at = placeOf(b.src, n.Start)
	}
	for i, pair := range n.Values {
		key := b.build(pair.Key)
		if key == nil || key.kind != scalarNode {
			if !b.failed {
				b.failed = true
				b.faults.add(placeOf(b.src, pair.Key.GetToken()), "", "a key must be a plain word")
			}
			return out
		}
		value := b.build(pair.Value)
		if value == nil {
			value = &node{kind: emptyNode, at: key.at}
		}
		if value.kind == emptyNode {
			value.at = key.at
		}
		if i == 0 && !n.IsFlowStyle {
			out.at = key.at
		}
		out.keys, out.items = append(out.keys, key), append(out.items, value)
	}
	return out
}

// clip shortens a text for a message.
func clip(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
